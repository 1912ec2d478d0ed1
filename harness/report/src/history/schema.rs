//! The tables of a history, and how an older file becomes a newer one.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::ReportError;

/// What marks the file as ours, `SQLite`'s `application_id`: `sanl` in ASCII.
const APPLICATION: i64 = 0x7361_6e6c;

/// What brings a file from each version to the next: the first makes version 1 of an empty file. Steps are never changed, only
/// added to.
const STEPS: [&str; 4] = [
    "
    -- One row a run, whatever it measured.
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,      -- sha256 of what makes it this run
        scenario TEXT NOT NULL,
        title TEXT NOT NULL,
        started REAL NOT NULL,         -- seconds since 1970
        outcome TEXT NOT NULL          -- passed, failed, known_failure, broken, skipped
    );
    CREATE INDEX runs_by_time ON runs (started);
    -- What was measured under the same circumstances.
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE       -- scenario, step and dimensions as JSON, keys in order
    );
    -- What a run says of a series.
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs (id),
        series INTEGER NOT NULL REFERENCES series (id),
        origin TEXT NOT NULL,          -- what the run was made of, as JSON
        UNIQUE (run, series)
    );
    CREATE INDEX entries_by_series ON entries (series);
    -- Every repetition's figure.
    CREATE TABLE figures (
        entry INTEGER NOT NULL REFERENCES entries (id),
        measure TEXT NOT NULL,
        repetition INTEGER NOT NULL,   -- from 1, warm-ups left out
        value REAL NOT NULL,           -- in the measure's unit
        PRIMARY KEY (entry, measure, repetition)
    ) WITHOUT ROWID;
    -- What runs of the same thing were seen to differ by; the latest counts.
    CREATE TABLE noise (
        host TEXT NOT NULL,
        accelerator TEXT NOT NULL,
        measure TEXT NOT NULL,
        at REAL NOT NULL,              -- when it was learnt, seconds since 1970
        floor REAL NOT NULL,           -- as a share
        comparisons INTEGER NOT NULL,  -- from how many
        PRIMARY KEY (host, accelerator, measure, at)
    ) WITHOUT ROWID;
",
    "
    -- Of how many pairs of runs the comparisons were drawn.
    ALTER TABLE noise ADD COLUMN pairs INTEGER NOT NULL DEFAULT 0;
",
    "
    -- Half the file was the names of measures, and to find a series' newest runs all of its runs were sorted.
    CREATE TABLE measures (
        id INTEGER PRIMARY KEY,
        word TEXT NOT NULL UNIQUE      -- throughput, instructions, ...
    );
    INSERT INTO measures (word) SELECT DISTINCT measure FROM figures;
    CREATE TABLE numbered (
        entry INTEGER NOT NULL REFERENCES entries (id),
        measure INTEGER NOT NULL REFERENCES measures (id),
        repetition INTEGER NOT NULL,   -- from 1, warm-ups left out
        value REAL NOT NULL,           -- in the measure's unit
        PRIMARY KEY (entry, measure, repetition)
    ) WITHOUT ROWID;
    INSERT INTO numbered SELECT entry, measures.id, repetition, value FROM figures JOIN measures ON word = measure;
    DROP TABLE figures;
    ALTER TABLE numbered RENAME TO figures;
    ALTER TABLE entries ADD COLUMN started REAL NOT NULL DEFAULT 0;  -- as that of the run
    UPDATE entries SET started = (SELECT started FROM runs WHERE runs.id = entries.run);
    DROP INDEX entries_by_series;
    CREATE INDEX entries_by_series ON entries (series, started);
",
    "
    -- How long the run took; of runs that an older version took in it is not known.
    ALTER TABLE runs ADD COLUMN seconds REAL;
",
];

/// Makes sure that the file is a history of the newest version.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), ReportError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => ReportError::NotHistory {
            path: path.to_owned(),
        },
        _ => ReportError::history(path, source),
    };
    connection
        .pragma_update(None, "foreign_keys", true)
        .map_err(failed)?;
    // What this program writes, `SQLite`'s `user_version`.
    let newest = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if version(connection).map_err(failed)? == newest {
        return identified(connection, path).map_err(failed)?;
    }
    // Two programs may come to an empty file at the same time: the second finds the tables made.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(failed)?;
    if found > 0 || tables > 0 {
        identified(&transaction, path).map_err(failed)??;
    }
    if found > newest {
        return Err(ReportError::NewerHistory {
            path: path.to_owned(),
            found,
            newest,
        });
    }
    for step in STEPS
        .iter()
        .skip(usize::try_from(found).unwrap_or_default())
    {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION)
        .and_then(|()| transaction.pragma_update(None, "user_version", newest))
        .and_then(|()| transaction.commit())
        .map_err(failed)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether the file says that it is ours.
fn identified(connection: &Connection, path: &Path) -> rusqlite::Result<Result<(), ReportError>> {
    let found: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(if found == APPLICATION {
        Ok(())
    } else {
        Err(ReportError::NotHistory {
            path: path.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_version_kept_is_there_in_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.sqlite");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO runs VALUES (1, 'k1', 's', 't', 10.5, 'passed'), (2, 'k2', 's', 't', 11.5, 'passed');
                 INSERT INTO series VALUES (7, '{}');
                 INSERT INTO entries VALUES (3, 1, 7, '{}'), (4, 2, 7, '{}');
                 INSERT INTO figures VALUES (3, 'throughput', 1, 40.0), (3, 'throughput', 2, 0.1), (4, 'instructions', 1, 7e6);
                 INSERT INTO noise VALUES ('h', 'tcg', 'throughput', 9.0, 0.04, 100);",
            )
            .unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        prepare(&mut connection, &path).unwrap();
        let rows = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map((), |row| row.get::<_, String>(0));
            rows.unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(
            rows(
                "SELECT format('%d %s %d %s', entry, word, repetition, value) FROM figures JOIN measures ON measures.id = measure
                 ORDER BY entry, word, repetition"
            ),
            ["3 throughput 1 40.0", "3 throughput 2 0.1", "4 instructions 1 7000000.0"]
        );
        assert_eq!(
            rows("SELECT format('%d %s', id, started) FROM entries ORDER BY id"),
            ["3 10.5", "4 11.5"]
        );
        assert_eq!(
            rows("SELECT format('%d %s', pairs, floor) FROM noise"),
            ["0 0.04"]
        );
    }
}
