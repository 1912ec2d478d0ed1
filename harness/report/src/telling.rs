//! Series as people tell them apart: by what differs.

use crate::series::Series;

/// The dimensions by which a series differs from the others of its scenario and step among `all`, as `key=value`; where there
/// is no other, none.
pub(crate) fn telling<'a>(series: &Series, all: impl Iterator<Item = &'a Series>) -> Vec<String> {
    let others: Vec<&Series> = all
        .filter(|other| other.scenario == series.scenario && other.step == series.step)
        .collect();
    let differs = |key: &String, value: &String| {
        let mut others = others.iter();
        others.any(|other| other.dimensions.get(key) != Some(value))
    };
    let dimensions = series.dimensions.iter();
    dimensions
        .filter(|(key, value)| differs(key, value))
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::telling;
    use crate::series::Series;

    #[test]
    fn what_all_have_tells_nothing() {
        let series = |step: &str, mtu: &str| Series {
            scenario: "s".to_owned(),
            step: step.to_owned(),
            dimensions: [("mtu", mtu), ("host", "h")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        let all = [
            series("dd", "1500"),
            series("dd", "9000"),
            series("fio", "65000"),
        ];
        let told = |number: usize| telling(&all[number], all.iter());
        assert_eq!(told(0), ["mtu=1500"]);
        assert_eq!(told(1), ["mtu=9000"]);
        assert_eq!(told(2), [""; 0]);
    }
}
