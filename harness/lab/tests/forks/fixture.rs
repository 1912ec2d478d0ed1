//! What all trials stand on: a lab, stores that go away, runs with a deadline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;
use sanlab::{Lab, RunFolder, RunRequest, Terminal, run_on};
use sanlab_image::{Image, Store};
use sanlab_plan::{NodeName, Plan};
use sanlab_record::{Outcome, RunRecord};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::store_events;
use crate::watched::watched;

/// For one run; building a cluster of four takes one to two minutes on two CPUs. Other tests may come first.
const DEADLINE: Duration = Duration::from_secs(1200);

/// Four nodes of both architectures with one volume: what the article has.
const CLUSTER: &str = r#"
[nodes]
vix0 = { arch = "x86_64" }
"vix[1-3]" = { arch = "x86" }

[[layer]]
nbd = { disk = "256MiB" }

[[layer]]
striped = { name = "nbdsan" }

[[layer]]
o2cb = { cluster = "nbdsan" }

[[layer]]
ocfs2 = { slots = 4, at = "/mnt/nbdsan" }
"#;

pub(crate) struct Fixture {
    pub(crate) lab: Lab,
    nocapture: bool,
    cluster: OnceCell<Cluster>,
}

/// A store in which the cluster is kept.
pub(crate) struct Cluster {
    pub(crate) place: Place,
    /// The checkpoint's.
    pub(crate) key: String,
}

/// A store of its own with nothing in it but the user's images.
pub(crate) struct Place {
    pub(crate) store: Store,
    images: BTreeMap<NodeName, Image>,
    _folder: TempDir,
}

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) record: RunRecord,
    path: PathBuf,
}

impl Fixture {
    pub(crate) fn new(lab: Lab, nocapture: bool) -> Self {
        Self {
            lab,
            nocapture,
            cluster: OnceCell::new(),
        }
    }

    /// The cluster, built when a trial needs it first.
    pub(crate) async fn cluster(&self) -> Result<&Cluster, Failed> {
        let build = async || {
            let plan = on_cluster(Path::new("cluster.toml"), "")?;
            let place = self.place(&plan).await?;
            let run = self.lab.new_run()?;
            let ran = self.run(&place, &plan, RunRequest::new(&run)).await?;
            let key = store_events::kept(&ran.record).ok_or_else(|| ran.but("kept no cluster"))?;
            Ok::<_, Failed>(Cluster { place, key })
        };
        self.cluster.get_or_try_init(build).await
    }

    /// A store for the plan's fleet.
    pub(crate) async fn place(&self, plan: &Plan) -> Result<Place, Failed> {
        let images = self.images(plan).await?;
        // Where the build lies, there is room for whole memories.
        let folder = tempfile::Builder::new()
            .prefix("forks-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let store = Store::at(&folder.path().join("store"))?;
        // Nodes share images.
        let by_digest: BTreeMap<_, _> = images
            .values()
            .map(|image| (&image.digest, image))
            .collect();
        for image in by_digest.into_values() {
            let entry = image.kernel.parent().unwrap_or(&image.kernel);
            let link = store.root().join("images").join(&image.digest);
            fs_err::os::unix::fs::symlink(entry, link)?;
        }
        Ok(Place {
            store,
            images,
            _folder: folder,
        })
    }

    async fn images(&self, plan: &Plan) -> Result<BTreeMap<NodeName, Image>, Failed> {
        let (lab, plan) = (self.lab.clone(), plan.clone());
        Ok(spawn_blocking(move || lab.images(&plan, &|_| ())).await??)
    }

    /// Runs a plan, which must pass.
    pub(crate) async fn run(
        &self,
        place: &Place,
        plan: &Plan,
        request: RunRequest,
    ) -> Result<Ran, Failed> {
        let (store, images) = (place.store.clone(), place.images.clone());
        let (sender, events) = unbounded_channel();
        let attempt = request.attempt;
        let work = run_on(store, images, plan, request, sender);
        let work = watched(self.nocapture, &plan.id, events, work);
        let ended = timeout(DEADLINE, work).await;
        let late = |_| format!("{} did not end within {DEADLINE:?}", plan.id);
        let (record, path) = ended.map_err(late)??;
        let ran = Ran { record, path };
        if self.nocapture {
            let seconds = store_events::seconds(&ran.record);
            Terminal::plain().line(&format!("{} {attempt}: {seconds:.1} s", plan.id));
        }
        match &ran.record.outcome {
            Outcome::Passed => Ok(ran),
            other => Err(ran.but(&format!("ended like this: {other:?}"))),
        }
    }
}

impl Ran {
    /// What is wrong with it.
    pub(crate) fn but(&self, wrong: &str) -> Failed {
        let scenario = &self.record.scenario;
        format!("{scenario} {wrong}\nrecord: {}", self.path.display()).into()
    }

    /// A file beside the record.
    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>, Failed> {
        Ok(fs_err::read(self.path.with_file_name(name))?)
    }

    /// All that it did not build came from this checkpoint, and it made nothing itself.
    pub(crate) fn expect_forked(&self, key: &str) -> Result<(), Failed> {
        store_events::is_forked(&self.record, key).map_err(|wrong| self.but(&wrong))
    }
}

pub(crate) fn on_cluster(file: &Path, steps: &str) -> Result<Plan, Failed> {
    let text = format!("name = \"a cluster for forks\"\n{CLUSTER}{steps}");
    let plan = sanlab_plan::parse(file, &text);
    plan.map_err(|mistakes| mistakes.render(false).into())
}

/// The next attempt in a folder of runs.
pub(crate) fn attempt(run: &RunFolder, attempt: u32) -> RunRequest {
    RunRequest {
        attempt,
        ..RunRequest::new(run)
    }
}
