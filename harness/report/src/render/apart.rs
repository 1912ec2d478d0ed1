//! Short names of series: by what they differ in.

use std::collections::BTreeMap;

use crate::load::series::Series;

/// What a series has that others of the same scenario and step have not: keys and values, in order. A key that only the others have
/// is `none`.
pub(crate) fn apart<'a>(
    series: &'a Series,
    others: impl IntoIterator<Item = &'a Series>,
) -> BTreeMap<&'a str, &'a str> {
    let same = |other: &&Series| other.scenario == series.scenario && other.step == series.step;
    let others = others.into_iter().filter(same);
    others
        .flat_map(|other| {
            let keys = series.dimensions.keys().chain(other.dimensions.keys());
            keys.filter(|key| series.dimensions.get(*key) != other.dimensions.get(*key))
        })
        .map(|key| {
            let value = series.dimensions.get(key).map_or("none", String::as_str);
            (key.as_str(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::apart;
    use crate::load::series::Series;

    #[test]
    fn what_all_have_tells_nothing() {
        let series = |step: &str, mtu: &str| Series {
            scenario: "s".to_owned(),
            step: step.to_owned(),
            dimensions: [("mtu", mtu), ("host", "h")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        let mut all = [
            series("dd", "1500"),
            series("dd", "9000"),
            series("fio", "65000"),
        ];
        let told = |all: &[Series], number: usize| format!("{:?}", apart(&all[number], all));
        assert_eq!(told(&all, 0), r#"{"mtu": "1500"}"#);
        assert_eq!(told(&all, 2), "{}");
        all[1].dimensions.insert("set.x".to_owned(), "1".to_owned());
        assert_eq!(told(&all, 0), r#"{"mtu": "1500", "set.x": "none"}"#);
    }
}
