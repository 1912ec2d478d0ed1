//! The objects that are printed: a Job, and a `ConfigMap` with what its pods read.

use serde_json::{Value, json};

use super::KubernetesError;
use super::files::Files;
use super::size::Size;

/// Who runs the lab in a pod: nobody of the image has a need for more.
const USER: u32 = 1000;
/// How long a pod may collect logs and end its guests, seconds.
const GRACE: u32 = 120;
/// Where an image of the lab has guests' images that were built with it.
const STORE_OF_IMAGE: &str = "/var/lib/sanlab";
const PROGRAM: &str = "sanlab";

/// Where the scenarios come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A `ConfigMap` that is printed with the Job.
    Files(Files),
    /// A claim of a volume that has the whole project.
    Checkout(String),
}

/// What a Job is made of.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its name, and that of the `ConfigMap`.
    pub(crate) name: String,
    /// How many shards: indexes.
    pub(crate) shards: u16,
    /// The container image with the lab.
    pub(crate) image: String,
    /// A device plugin's resource that brings /dev/kvm.
    pub(crate) kvm_resource: Option<String>,
    /// A claim of a volume with guests' images.
    pub(crate) store_claim: Option<String>,
    /// The claim of the volume on which all pods leave their run folders.
    pub(crate) runs_claim: String,
    /// The scenarios.
    pub(crate) source: Source,
    /// Arguments of `sanlab run`, files at the end.
    pub(crate) arguments: Vec<String>,
    /// What a pod takes.
    pub(crate) size: Size,
}

impl Job {
    /// The objects, in the order in which they are printed. Pods wait for a `ConfigMap` that is not there yet.
    pub(crate) fn objects(&self) -> Result<Vec<Value>, KubernetesError> {
        let mut objects = vec![self.job()?];
        if let Source::Files(files) = &self.source {
            let texts = files.entries()?.into_iter();
            let texts: serde_json::Map<String, Value> =
                texts.map(|(key, _, text)| (key, text.into())).collect();
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": self.metadata(),
                // A pod that is started again must find the files of the others.
                "immutable": true,
                "data": texts,
            }));
        }
        Ok(objects)
    }

    fn metadata(&self) -> Value {
        json!({"name": self.name, "labels": {"app.kubernetes.io/name": PROGRAM}})
    }

    fn job(&self) -> Result<Value, KubernetesError> {
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(),
            "spec": {
                "completionMode": "Indexed",
                "completions": self.shards,
                "parallelism": self.shards,
                "backoffLimitPerIndex": 1,
                // However many fail, the others run on.
                "maxFailedIndexes": self.shards,
                "podFailurePolicy": {"rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    ends(1, "FailIndex"),
                    ends(2, "FailJob"),
                    ends(3, "Count"),
                ]},
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/name": PROGRAM}},
                    "spec": self.pod()?,
                },
            },
        }))
    }

    fn pod(&self) -> Result<Value, KubernetesError> {
        let mut pod = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container()],
            "volumes": self.volumes()?,
        });
        if self.store_claim.is_none() {
            pod["initContainers"] = json!([{
                "name": "guest-images",
                "image": self.image,
                "command": ["cp", "-r", format!("{STORE_OF_IMAGE}/."), "/store/"],
                // Where a namespace has a quota, a pod is refused with a container that does not say what it takes.
                "resources": self.resources(),
                "securityContext": unprivileged(),
                "volumeMounts": [{"name": "store", "mountPath": "/store"}],
            }]);
        }
        Ok(pod)
    }

    /// What each container takes: those of a pod run one after the other.
    fn resources(&self) -> Value {
        let size = json!({
            "cpu": self.size.cpus.to_string(),
            "memory": format!("{}Mi", self.size.memory_mib),
        });
        json!({"requests": size.clone(), "limits": size})
    }

    fn container(&self) -> Value {
        let name = &self.name;
        // Arguments stand behind the script, so that no shell reads them.
        let script = format!(
            "export SANLAB_RUNS=\"/runs/{name}/$JOB_UID/$JOB_COMPLETION_INDEX\"\n\
             exec sanlab run --shard \"$((JOB_COMPLETION_INDEX + 1))/{}\" --keep-going \"$@\"\n",
            self.shards
        );
        let mut environment = vec![
            json!({"name": "HOME", "value": "/tmp"}),
            json!({"name": "SANLAB_CACHE", "value": "/store"}),
            // Each Job has a folder of its own, also where one of the same name was there before.
            json!({"name": "JOB_UID", "valueFrom": {"fieldRef": {
                "fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']",
            }}}),
        ];
        let mut resources = self.resources();
        if let Some(kvm) = &self.kvm_resource {
            environment.push(json!({"name": "SANLAB_REQUIRE_KVM", "value": "1"}));
            resources["limits"][kvm] = "1".into();
        }
        json!({
            "name": PROGRAM,
            "image": self.image,
            "workingDir": "/project",
            "command": ["/bin/sh", "-euc", script, PROGRAM],
            "args": self.arguments,
            "env": environment,
            "resources": resources,
            "securityContext": unprivileged(),
            "volumeMounts": [
                {"name": "project", "mountPath": "/project", "readOnly": true},
                {"name": "store", "mountPath": "/store"},
                {"name": "runs", "mountPath": "/runs"},
                {"name": "fleets", "mountPath": "/tmp"},
            ],
        })
    }

    fn volumes(&self) -> Result<Value, KubernetesError> {
        let project = match &self.source {
            Source::Files(files) => {
                let entries = files.entries()?.into_iter();
                let items: Vec<Value> = entries
                    .map(|(key, path, _)| json!({"key": key, "path": path}))
                    .collect();
                json!({"name": "project", "configMap": {"name": self.name, "items": items}})
            }
            Source::Checkout(claim) => {
                let claim = json!({"claimName": claim, "readOnly": true});
                json!({"name": "project", "persistentVolumeClaim": claim})
            }
        };
        let store = match &self.store_claim {
            Some(claim) => json!({"name": "store", "persistentVolumeClaim": {"claimName": claim}}),
            None => json!({"name": "store", "emptyDir": {}}),
        };
        Ok(json!([
            project,
            store,
            {"name": "runs", "persistentVolumeClaim": {"claimName": self.runs_claim}},
            {"name": "fleets", "emptyDir": {}},
        ]))
    }
}

/// What becomes of an index whose pod ended with that exit code of the lab.
fn ends(code: u8, action: &str) -> Value {
    json!({
        "action": action,
        "onExitCodes": {"containerName": PROGRAM, "operator": "In", "values": [code]},
    })
}

/// What the Pod Security Standard `restricted` asks of a container.
fn unprivileged() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}
