//! What is submitted: the arguments of sbatch, and the script of each task. Pure.

use std::path::{Path, PathBuf};

use sanlab_plan::{quote, word};

/// A job array.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The program that each task runs; all nodes see it.
    pub(crate) program: &'a Path,
    /// Where the tasks run.
    pub(crate) directory: &'a Path,
    /// The job's own folder, which all nodes share.
    pub(crate) folder: &'a Path,
    /// How many tasks: one for each shard.
    pub(crate) nodes: u16,
    /// Slurm's limit for each task.
    pub(crate) time: Option<&'a str>,
    /// Slurm's partition.
    pub(crate) partition: Option<&'a str>,
    /// The user's arguments of sbatch, one each.
    pub(crate) sbatch: &'a [String],
    /// Arguments of `sanlab run`, scenario files among them.
    pub(crate) run: &'a [String],
}

impl Job<'_> {
    /// What Slurm calls it. No other job has that name: by it the job is found where its number is not known.
    pub(crate) fn name(&self) -> String {
        let folder = self.folder.file_name().unwrap_or_default();
        format!("sanlab-{}", folder.to_string_lossy())
    }

    /// Where the script lies.
    pub(crate) fn script_path(&self) -> PathBuf {
        self.folder.join("job.sh")
    }

    /// What sbatch is given, the script at the end. Nothing of it stands in the script: there the user's environment, such as
    /// `SBATCH_PARTITION`, would override it, and words would be divided at blanks.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let folder = self.folder.display().to_string().replace('%', "%%");
        let mut arguments = vec![
            format!("--array=1-{}", self.nodes),
            "--requeue".to_owned(),
            "--open-mode=append".to_owned(),
            format!("--output={folder}/task-%a.log"),
        ];
        arguments.extend(self.time.map(|time| format!("--time={time}")));
        arguments.extend(self.partition.map(|name| format!("--partition={name}")));
        arguments.extend_from_slice(self.sbatch);
        // Behind the user's, since the last one counts.
        arguments.push(format!("--job-name={}", self.name()));
        arguments.push("--parsable".to_owned());
        arguments.push(self.script_path().display().to_string());
        arguments
    }

    /// The clusters to which the user's arguments send it, where they say so.
    pub(crate) fn clusters(&self) -> Option<&str> {
        let mut clusters = None;
        let mut words = self.sbatch.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let found = match word {
                "-M" | "--clusters" => words.next(),
                _ => word
                    .strip_prefix("--clusters=")
                    .or_else(|| word.strip_prefix("-M")),
            };
            clusters = found.or(clusters);
        }
        clusters
    }

    /// The script of each task. `exec` leaves the signals of `scancel` and of a time limit to the lab, which then ends its guests.
    pub(crate) fn script(&self) -> String {
        let quoted = |path: &Path| quote(&path.display().to_string());
        let arguments: Vec<String> = self.run.iter().map(|word| quote(word)).collect();
        format!(
            "#!/bin/sh\n\
             cd {directory} || exit 3\n\
             export SANLAB_RUNS={folder}/shards/\"$SLURM_ARRAY_TASK_ID\"\n\
             exec {program} run --shard \"$SLURM_ARRAY_TASK_ID/{nodes}\" --keep-going {arguments}\n",
            arguments = arguments.join(" "),
            nodes = self.nodes,
            directory = quoted(self.directory),
            folder = quoted(self.folder),
            program = quoted(self.program),
        )
    }

    /// The script, and the command that submits it, as a person reads them; it can be submitted as it is.
    pub(crate) fn describe(&self) -> String {
        let words: Vec<String> = self.arguments().iter().map(|text| word(text)).collect();
        format!("{}# sbatch {}\n", self.script(), words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_task_runs_its_shard_with_the_arguments_of_all_and_sbatch_is_told_all_else() {
        let job = Job {
            program: Path::new("/shared/bin/sanlab"),
            directory: Path::new("/shared/it's here"),
            folder: Path::new("/shared/100%/20261128T020304Z-x7f3"),
            nodes: 8,
            time: Some("2:00:00"),
            partition: Some("night"),
            sbatch: &words(&["--comment=two words", "--array=1-8%2"]),
            run: &words(&["--set", "mtu=9000", "a.toml"]),
        };
        insta::assert_snapshot!(job.describe(), @r#"
        #!/bin/sh
        cd '/shared/it'\''s here' || exit 3
        export SANLAB_RUNS='/shared/100%/20261128T020304Z-x7f3'/shards/"$SLURM_ARRAY_TASK_ID"
        exec '/shared/bin/sanlab' run --shard "$SLURM_ARRAY_TASK_ID/8" --keep-going '--set' 'mtu=9000' 'a.toml'
        # sbatch --array=1-8 --requeue --open-mode=append --output=/shared/100%%/20261128T020304Z-x7f3/task-%a.log --time=2:00:00 --partition=night '--comment=two words' --array=1-8%2 --job-name=sanlab-20261128T020304Z-x7f3 --parsable /shared/100%/20261128T020304Z-x7f3/job.sh
        "#);
    }

    #[test]
    fn the_last_clusters_that_are_asked_for_count() {
        let clusters = |sbatch: &[&str]| {
            let sbatch = words(sbatch);
            let job = Job {
                program: Path::new("/sanlab"),
                directory: Path::new("/"),
                folder: Path::new("/job"),
                nodes: 1,
                time: None,
                partition: None,
                sbatch: &sbatch,
                run: &[],
            };
            job.clusters().map(str::to_owned)
        };
        assert_eq!(clusters(&["--mem=4G"]), None);
        assert_eq!(clusters(&["--clusters=east"]).as_deref(), Some("east"));
        assert_eq!(clusters(&["-M", "east,west"]).as_deref(), Some("east,west"));
        let last = clusters(&["--clusters", "east", "-Mwest"]);
        assert_eq!(last.as_deref(), Some("west"));
    }
}
