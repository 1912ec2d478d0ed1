//! Names as Kubernetes takes them, checked before it refuses them. For the command line.

/// A pod's host name is that of the Job, `-` and the index, of at most four digits here; and that is a label of 63 characters.
const LONGEST_JOB: usize = 58;
const LONGEST_CLAIM: usize = 253;

/// The name of a Job, and of its `ConfigMap`.
pub(crate) fn job(text: &str) -> Result<String, String> {
    if !is_label(text) || text.len() > LONGEST_JOB {
        return Err(format!(
            "it must be a DNS label, of lower-case letters, digits and `-` between them, with at most {LONGEST_JOB} characters, such as `night-12`"
        ));
    }
    Ok(text.to_owned())
}

/// The name of a `PersistentVolumeClaim`.
pub(crate) fn claim(text: &str) -> Result<String, String> {
    if !text.split('.').all(is_label) || text.len() > LONGEST_CLAIM {
        return Err("it must be the name of a PersistentVolumeClaim: DNS labels, of lower-case letters, digits and `-` between them, such as `sanlab-runs`".to_owned());
    }
    Ok(text.to_owned())
}

/// The resource of a device plugin.
pub(crate) fn resource(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= 63
            && name.chars().all(inner)
            && ends(name.chars().next())
            && ends(name.chars().last())
    };
    match text.split_once('/') {
        Some((domain, name)) if domain.split('.').all(is_label) && is_name(name) => {
            Ok(text.to_owned())
        }
        _ => Err(
            "it must be a device plugin's resource, DOMAIN/NAME, such as `devices.kubevirt.io/kvm`; `kubectl describe node` shows them"
                .to_owned(),
        ),
    }
}

/// A reference to a container image. What it leads to, only the cluster knows.
pub(crate) fn image(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    let begins = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if !begins || !text.chars().all(fits) {
        return Err("it must be the reference of a container image, such as `registry.example.org/sanlab:0.1.0`".to_owned());
    }
    Ok(text.to_owned())
}

/// A DNS label, by RFC 1123.
fn is_label(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.chars().all(|c| letter(c) || c == '-')
        && text.starts_with(letter)
        && text.ends_with(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for name in ["sanlab", "night-12", "2", &"a".repeat(58)] {
            assert_eq!(job(name).unwrap(), name);
        }
        for name in ["", "Night", "-a", "a-", "a_b", "a.b", "ä", &"a".repeat(59)] {
            assert!(job(name).unwrap_err().contains("DNS label"), "{name}");
        }
        assert!(claim("runs.night-2").is_ok());
        for name in ["", "runs.", "Runs", "a/b"] {
            assert!(claim(name).unwrap_err().contains("sanlab-runs"), "{name}");
        }
        assert!(resource("devices.kubevirt.io/kvm").is_ok());
        for name in ["kvm", "/dev/kvm", "a.b/", "a.b/c/d"] {
            assert!(resource(name).is_err(), "{name}");
        }
        assert!(image("registry.example.org:5000/sanlab@sha256:00").is_ok());
        for name in ["", " sanlab", "a b", ":x"] {
            assert!(image(name).is_err(), "{name}");
        }
    }
}
