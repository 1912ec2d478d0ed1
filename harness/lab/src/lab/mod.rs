//! A project with its folder of runs, its scenarios with what they are given on the command line, and the images that they need; runs
//! plans in it.

pub(crate) mod artefact_file;
pub(crate) mod bundle;
pub(crate) mod changes;
pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod matrix;
pub(crate) mod overrides;
pub(crate) mod runs;
pub mod scenario;
pub(crate) mod seed;
pub(crate) mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sanlab_fleet::Registry;
use sanlab_image::{Image, Manifest, Progress, Store};
use sanlab_plan::{Arch, Artefact, ImageName, NodeName, Plan};
use sanlab_record::{Event, Outcome, RunRecord};
use sanlab_run::{Environment, Hold, RunOptions};
use tokio::sync::mpsc;

use crate::LabError;
use crate::lab::runs::{RunFolder, write_record};

/// The lab of a project: a folder with scenarios. Cheap to clone; clones share what has been found out about images.
#[derive(Debug, Clone)]
pub struct Lab {
    project: PathBuf,
    ensured: Arc<Mutex<BTreeMap<(PathBuf, Arch), Image>>>,
}

/// What is asked for of a run besides its plan.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Where its folder is made.
    pub run: RunFolder,
    /// Which attempt of the scenario it is in that folder, from 1.
    pub attempt: u32,
    /// Builds everything from nothing and keeps nothing, whatever the scenario says.
    pub fresh: bool,
    /// What the engine is given. Of a fleet that is kept up in place of the plan's steps, or of the last of them, no record is left.
    pub options: RunOptions,
}

impl RunRequest {
    /// The first attempt, as fresh as the scenario wants it, with a seed that nobody chose, and for the rest the engine's defaults.
    pub fn new(run: &RunFolder) -> Self {
        Self {
            run: run.clone(),
            attempt: 1,
            fresh: false,
            options: RunOptions {
                seed: seed::drawn(),
                ..RunOptions::default()
            },
        }
    }
}

impl Lab {
    /// The lab of the project that a folder is in: the nearest folder above it that has `scenarios/`, or else the folder itself.
    pub fn find(near: &Path) -> Result<Self, LabError> {
        let near = fs_err::canonicalize(near)?;
        let mut folders = near.ancestors();
        let project = folders.find(|folder| folder.join("scenarios").is_dir());
        bundle::offer_counter();
        Ok(Self {
            project: project.unwrap_or(&near).to_owned(),
            ensured: Arc::default(),
        })
    }

    /// The project's folder.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// The folder of the project's own images.
    pub(crate) fn own_images(&self) -> PathBuf {
        self.project.join("images")
    }

    /// Makes the folder of a new run.
    pub fn new_run(&self) -> Result<RunFolder, LabError> {
        RunFolder::create(&self.project)
    }

    /// An error when no guest could run here: it says what is wrong with the folder of runs, or names what the host lacks and the
    /// command that installs it. To be asked before images are built.
    pub fn require_host(&self) -> Result<(), LabError> {
        Registry::examine()?;
        host::require_everything()
    }

    /// What each of a plan's nodes boots: images, built now where the store lacks them, with the artefacts that the node gets.
    /// Blocking.
    pub fn images(
        &self,
        plan: &Plan,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<BTreeMap<NodeName, Image>, LabError> {
        self.check_kernels(plan)?;
        let bases = self.bases(plan, progress)?;
        // Nodes that are alike share an image.
        let mut made: Vec<(&Image, Vec<&Artefact>, Image)> = Vec::new();
        let mut images = BTreeMap::new();
        for node in &plan.nodes {
            let arch = node.hardware.arch;
            let Some(base) = bases.get(&(plan.image_of(node), arch)) else {
                continue;
            };
            let artefacts: Vec<&Artefact> = plan.artefacts_of(&node.name).collect();
            let alike = made
                .iter()
                .find(|(other, theirs, _)| *other == base && *theirs == artefacts);
            let image = if let Some((.., image)) = alike {
                image.clone()
            } else {
                let kernel_of = self.kernel_of(plan, &artefacts, arch, progress)?;
                let image = base.with_artefacts(artefacts.iter().copied(), kernel_of.as_ref())?;
                made.push((base, artefacts, image.clone()));
                image
            };
            images.insert(node.name.clone(), image);
        }
        Ok(images)
    }

    /// Refuses a kernel of an image that has none for any of the nodes that are to boot it.
    fn check_kernels(&self, plan: &Plan) -> Result<(), LabError> {
        for artefact in &plan.artefacts {
            let Some(name) = artefact.image() else {
                continue;
            };
            let manifest = Manifest::load(&self.manifest(plan, name.as_str())?)?;
            let archs: BTreeSet<Arch> = manifest.arches().collect();
            let nodes = artefact.on.iter().filter_map(|node| plan.node(node));
            if !nodes
                .clone()
                .any(|node| archs.contains(&node.hardware.arch))
            {
                return Err(LabError::KernelForNobody {
                    scenario: plan.id.clone(),
                    image: name.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The image whose kernel nodes are to boot, where an artefact names one that is there for their architecture.
    fn kernel_of(
        &self,
        plan: &Plan,
        artefacts: &[&Artefact],
        arch: Arch,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<Image>, LabError> {
        let mut names = artefacts.iter().filter_map(|artefact| artefact.image());
        let Some(name) = names.next() else {
            return Ok(None);
        };
        let manifest = self.manifest(plan, name.as_str())?;
        if !Manifest::load(&manifest)?.arches().any(|one| one == arch) {
            return Ok(None);
        }
        let mut images = self.ensured(&manifest, [arch], progress)?;
        Ok(images.remove(&arch))
    }

    /// The images that a plan's nodes boot, by manifest and architecture.
    fn bases<'a>(
        &self,
        plan: &'a Plan,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<BTreeMap<(&'a ImageName, Arch), Image>, LabError> {
        let mut wanted: BTreeMap<&ImageName, BTreeSet<Arch>> = BTreeMap::new();
        for node in &plan.nodes {
            let archs = wanted.entry(plan.image_of(node)).or_default();
            archs.insert(node.hardware.arch);
        }
        let mut bases = BTreeMap::new();
        for (name, archs) in wanted {
            let manifest = self.manifest(plan, name.as_str())?;
            for (arch, image) in self.ensured(&manifest, archs, progress)? {
                bases.insert((name, arch), image);
            }
        }
        Ok(bases)
    }

    /// The images of a manifest for some architectures, built now where the store lacks them.
    fn ensured(
        &self,
        manifest: &Path,
        archs: impl IntoIterator<Item = Arch>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<BTreeMap<Arch, Image>, LabError> {
        let archs: BTreeSet<Arch> = archs.into_iter().collect();
        // Held while building: trials of one process that need the same image wait for one build.
        let mut ensured = self.ensured.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |arch: Arch| (manifest.to_owned(), arch);
        let lacking: Vec<Arch> = archs
            .iter()
            .copied()
            .filter(|arch| !ensured.contains_key(&key(*arch)))
            .collect();
        for built in ensure(manifest, &lacking, false, progress)? {
            ensured.insert(key(built.image.arch), built.image);
        }
        let image = |arch: Arch| ensured.get(&key(arch)).cloned().map(|image| (arch, image));
        Ok(archs.into_iter().filter_map(image).collect())
    }

    /// Runs a plan and keeps its record: returns both. A run that fails is a record, not an error.
    pub async fn run(
        &self,
        plan: &Plan,
        request: RunRequest,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<(RunRecord, PathBuf), LabError> {
        let (lab, wanted) = (self.clone(), plan.clone());
        let build = tokio::task::spawn_blocking(move || lab.images(&wanted, &|_| ()));
        let images = build
            .await
            .unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
        run_on(Store::open_default()?, images, plan, request, events).await
    }

    /// The manifest of that name, or of `debian-` and that name.
    fn manifest(&self, plan: &Plan, name: &str) -> Result<PathBuf, LabError> {
        let own = self.own_images();
        if let Some(found) = manifest_in(&own, name) {
            return Ok(found);
        }
        let bundle = bundle::folder()?;
        manifest_in(bundle, name).ok_or_else(|| LabError::NoManifest {
            scenario: plan.id.clone(),
            image: name.to_owned(),
            path: own.join(format!("{name}.toml")),
            known: manifests_in(bundle),
        })
    }
}

/// The manifest of that name in a folder, or of `debian-` and that name.
pub(crate) fn manifest_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let paths = [name.to_owned(), format!("debian-{name}")];
    let mut paths = paths
        .map(|name| folder.join(format!("{name}.toml")))
        .into_iter();
    paths.find(|path| path.is_file())
}

/// The names of the manifests in a folder, sorted; the one of the guests' programs is none.
pub(crate) fn manifests_in(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let mut names: Vec<String> = files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| name != "Cargo")
        .collect();
    names.sort();
    names
}

/// Runs a plan on images that are there already, with a store of the caller's choice for what is kept; otherwise like
/// [`Lab::run`]. Of a fleet that was up there is no record: its folder comes back instead.
pub async fn run_on(
    store: Store,
    images: BTreeMap<NodeName, Image>,
    plan: &Plan,
    request: RunRequest,
    events: mpsc::UnboundedSender<Event>,
) -> Result<(RunRecord, PathBuf), LabError> {
    let RunRequest {
        run,
        attempt,
        fresh,
        options,
    } = request;
    let out_dir = run.scenario(&plan.id, attempt)?;
    let plan = Plan {
        fresh: plan.fresh || fresh,
        ..plan.clone()
    };
    let hold = options.hold.as_ref();
    let replaces_steps = hold.is_some_and(Hold::replaces_steps);
    let environment = Environment {
        images,
        out_dir: out_dir.clone(),
        store,
        options,
    };
    // Boxed: callers need not hold a whole run's state within their own.
    let record = Box::pin(sanlab_run::execute(&plan, environment, events)).await;
    if replaces_steps && record.outcome == Outcome::Passed {
        return Ok((record, out_dir));
    }
    let path = write_record(&out_dir, &record)?;
    Ok((record, path))
}

/// An image, and how long it took to get it.
#[derive(Debug)]
pub(crate) struct Ensured {
    pub(crate) image: Image,
    pub(crate) seconds: f64,
}

/// The images of a manifest for some architectures, those that must be built side by side. Blocking.
pub(crate) fn ensure(
    manifest: &Path,
    archs: &[Arch],
    update_lock: bool,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Ensured>, LabError> {
    let store = Store::open_default()?;
    let manifest = Manifest::load(manifest)?;
    let one = &|arch: Arch| -> Result<Ensured, LabError> {
        let begin = Instant::now();
        let image = sanlab_image::ensure(&store, &manifest, arch, update_lock, &|news| {
            progress(&words(&news));
        })?;
        Ok(Ensured {
            image,
            seconds: begin.elapsed().as_secs_f64(),
        })
    };
    std::thread::scope(|scope| {
        let builds: Vec<_> = archs
            .iter()
            .map(|&arch| scope.spawn(move || one(arch)))
            .collect();
        let ended = builds
            .into_iter()
            .map(|build| build.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.collect()
    })
}

/// News of a build as a person reads it.
fn words(news: &Progress) -> String {
    match news {
        Progress::Waiting {
            arch,
            builder: Some(pid),
        } => format!("process {pid} builds the {arch} image: waiting for it"),
        Progress::Waiting {
            arch,
            builder: None,
        } => format!("another process builds the {arch} image: waiting for it"),
        Progress::Phase { arch, phase } => format!("{arch}: {phase}"),
        Progress::Built {
            arch,
            seconds,
            sizes,
        } => {
            format!(
                "{arch}: built in {seconds:.1} s, root image {} MiB",
                sizes.root >> 20
            )
        }
    }
}
