//! What the sandbox remembers over a restart: one JSON file a component, written atomically.
//!
//! A component keeps its state in a [`Saved`] and changes it through [`Saved::change`]; whatever
//! was answered to a caller is on disk by then. Without a directory everything stays in memory,
//! which is what the tests use. No provider token, code or app secret may be put in here in the
//! clear: the networks remember hashes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

/// Where state is kept; `None` keeps it in memory.
#[derive(Clone, Debug, Default)]
pub struct DataDir(Option<PathBuf>);

impl DataDir {
    /// Keeps nothing over a restart.
    #[must_use]
    pub fn memory() -> Self {
        Self(None)
    }

    /// Keeps everything below `path`, which is made when it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(Some(path.to_owned())))
    }

    /// The path of `name` in the directory, if there is a directory.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|dir| dir.join(name))
    }
}

/// State that outlives the process.
#[derive(Debug)]
pub struct Saved<T> {
    path: Option<PathBuf>,
    state: Arc<Mutex<T>>,
}

impl<T> Clone for Saved<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), state: Arc::clone(&self.state) }
    }
}

impl<T: Serialize + DeserializeOwned> Saved<T> {
    /// Reads `name` from `dir`, or begins with `first`.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn open(dir: &DataDir, name: &str, first: impl FnOnce() -> T) -> io::Result<Self> {
        let path = dir.file(name);
        let state = match path.as_ref().map(fs::read) {
            Some(Ok(bytes)) => serde_json::from_slice(&bytes)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => first(),
        };
        let saved = Self { path, state: Arc::new(Mutex::new(state)) };
        saved.save(&saved.lock());
        Ok(saved)
    }

    /// Looks at the state.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state and writes it down.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        self.save(&state);
        result
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, state: &T) {
        let Some(path) = &self.path else { return };
        let temporary = path.with_extension("tmp");
        let written = serde_json::to_vec_pretty(state)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            tracing::error!(path = %path.display(), %error, "the sandbox could not save its state");
        }
    }
}
