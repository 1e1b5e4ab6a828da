//! The calls of the C library that change files, put in the place of the library's own.
//!
//! A symbol that the executable defines goes before one of a shared library, so both std and the
//! bundled SQLite come by here. On a thread that watches a folder, what they do to its files is
//! noted, and one call can be made to fail; all else goes straight to the system.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A file, from its making on; another one of the same name has another number.
pub(crate) type FileId = usize;

/// What happened to the folder.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        id: FileId,
        name: String,
    },
    Write {
        id: FileId,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        id: FileId,
        length: usize,
    },
    /// Its bytes read as zeros then.
    Hole {
        id: FileId,
        offset: usize,
        length: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        name: String,
    },
    Sync {
        id: FileId,
    },
    /// As Linux does it: what was not written is forgotten, and the next sync says all is well.
    SyncFailed {
        id: FileId,
    },
    SyncFolder,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Read,
    Write,
    Sync,
    Truncate,
    Name,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The call does nothing and gives this error.
    Error(c_int),
    /// A write does its first half.
    Short,
}

/// Which calls go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) trouble: Trouble,
    pub(crate) calls: &'static [Call],
    /// The first one, from 1, among those of `calls`.
    pub(crate) at: u64,
    /// Whether all later ones go wrong too.
    pub(crate) stays: bool,
}

/// What a thread watches.
#[derive(Default)]
pub(crate) struct Watch {
    folder: PathBuf,
    folder_inode: u64,
    ids: BTreeMap<u64, FileId>,
    made: FileId,
    ops: Vec<Op>,
    fault: Option<Fault>,
    calls: u64,
}

/// A watch that several threads can share.
pub(crate) type Shared = Arc<Mutex<Watch>>;

thread_local! {
    static WATCH: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// Notes from now on what this thread does to an empty folder, and lets calls go wrong.
pub(crate) fn watch(folder: &Path, fault: Option<Fault>) {
    use std::os::unix::fs::MetadataExt;
    let folder_inode = std::fs::metadata(folder).expect("the folder is there").ino();
    let folder = folder.to_path_buf();
    let watch = Watch { folder, folder_inode, fault, ..Watch::default() };
    join(Some(Arc::new(Mutex::new(watch))));
}

/// What this thread watches, if it does.
pub(crate) fn shared() -> Option<Shared> {
    WATCH.with(|slot| slot.borrow().clone())
}

/// Watches what another thread watches, with it.
pub(crate) fn join(watch: Option<Shared>) {
    WATCH.with(|slot| *slot.borrow_mut() = watch);
}

/// Lets other calls go wrong, counted anew.
pub(crate) fn set_fault(fault: Option<Fault>) {
    inside(|watch| (watch.fault, watch.calls) = (fault, 0));
}

/// Operations noted so far.
pub(crate) fn count() -> usize {
    inside(|watch| watch.ops.len()).unwrap_or(0)
}

/// Ends the watch: what was done, and whether a call went wrong.
pub(crate) fn unwatch() -> (Vec<Op>, bool) {
    let watch = WATCH.with(|slot| slot.borrow_mut().take()).expect("there is a watch");
    let watch = std::mem::take(&mut *watch.lock().expect("nothing panics while it notes"));
    (watch.ops, watch.fault.is_some_and(|fault| watch.calls >= fault.at))
}

fn inside<T>(act: impl FnOnce(&mut Watch) -> T) -> Option<T> {
    // Borrowed only if a call is made while one is being noted: not by this file.
    let inside = |slot: &RefCell<Option<Shared>>| {
        let slot = slot.try_borrow_mut().ok()?;
        let mut watch = slot.as_ref()?.lock().ok()?;
        Some(act(&mut watch))
    };
    WATCH.try_with(inside).ok()?
}

impl Watch {
    /// The file's name if it is right in the folder and is one that matters: SQLite makes the
    /// shared memory anew.
    fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.folder).ok()?.to_str()?;
        (!name.is_empty() && !name.ends_with("-shm")).then(|| name.to_string())
    }

    /// Counts a call; says what goes wrong with it.
    fn strike(&mut self, call: Call) -> Option<Trouble> {
        let fault = self.fault.filter(|fault| fault.calls.contains(&call))?;
        self.calls += 1;
        let hit = self.calls == fault.at || fault.stays && self.calls > fault.at;
        hit.then_some(fault.trouble)
    }
}

fn failed(error: c_int) -> c_int {
    // SAFETY: the C library gives each thread a place for its errno.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn path_of<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: callers of the C library give strings that end in zero.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

fn inode(fd: c_int) -> Option<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer, and it is read only when it was given.
    unsafe { (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init().st_ino) }
}

/// The file behind a descriptor, if it is watched.
fn id_of(fd: c_int) -> Option<FileId> {
    inside(|_| ())?;
    let inode = inode(fd)?;
    inside(|watch| watch.ids.get(&inode).copied())?
}

/// `flags` and `mode` come in registers, as those of the variadic original do.
fn open_file(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    let named = inside(|watch| watch.name(path_of(path))).flatten();
    let is_new = named.is_some()
        && flags & libc::O_CREAT != 0
        // SAFETY: the string is the caller's.
        && unsafe { libc::access(path, libc::F_OK) } != 0;
    if is_new && let Some(Trouble::Error(error)) = inside(|w| w.strike(Call::Create)).flatten() {
        return failed(error);
    }
    // SAFETY: the caller's own arguments.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    let fd = c_int::try_from(fd).unwrap_or(-1);
    if let (Some(name), true, Some(inode)) = (named, is_new && fd >= 0, inode(fd)) {
        inside(|watch| {
            watch.made += 1;
            watch.ids.insert(inode, watch.made);
            watch.ops.push(Op::Create { id: watch.made, name });
        });
    }
    fd
}

fn write_at(fd: c_int, bytes: *const c_void, length: usize, offset: Option<i64>) -> isize {
    let id = id_of(fd);
    let trouble = id.and_then(|_| inside(|watch| watch.strike(Call::Write)).flatten());
    let length = match trouble {
        Some(Trouble::Error(error)) => return failed(error) as isize,
        Some(Trouble::Short) => length.div_ceil(2),
        None => length,
    };
    // SAFETY: the caller's own arguments, or fewer bytes.
    let (start, written) = unsafe {
        let start = offset.unwrap_or_else(|| libc::lseek(fd, 0, libc::SEEK_CUR));
        let written = match offset {
            Some(offset) => libc::syscall(libc::SYS_pwrite64, fd, bytes, length, offset),
            None => libc::syscall(libc::SYS_write, fd, bytes, length),
        };
        (start, written)
    };
    if let (Some(id), Ok(written), Ok(offset)) =
        (id, usize::try_from(written), usize::try_from(start))
    {
        // SAFETY: the system has just read so many bytes from there.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), written) }.to_vec();
        inside(|watch| watch.ops.push(Op::Write { id, offset, bytes }));
    }
    isize::try_from(written).expect("a system call counts in machine words")
}

fn sync_file(fd: c_int, call: libc::c_long) -> c_int {
    let id = id_of(fd);
    let is_folder = inode(fd).is_some_and(|at| inside(|w| w.folder_inode == at) == Some(true));
    let trouble = (id.is_some() || is_folder).then(|| inside(|watch| watch.strike(Call::Sync)));
    if let Some(Some(Some(Trouble::Error(error)))) = trouble {
        inside(|watch| watch.ops.extend(id.map(|id| Op::SyncFailed { id })));
        return failed(error);
    }
    let op = id.map(|id| Op::Sync { id }).or(is_folder.then_some(Op::SyncFolder));
    if let Some(op) = op {
        // Stable storage is what `disk.rs` says: waiting for a real one would prove nothing.
        inside(|watch| watch.ops.push(op));
        return 0;
    }
    // SAFETY: the caller's own argument.
    c_int::try_from(unsafe { libc::syscall(call, fd) }).unwrap_or(-1)
}

fn read_at(fd: c_int, into: *mut c_void, length: usize, offset: Option<i64>) -> isize {
    let trouble = id_of(fd).and_then(|_| inside(|watch| watch.strike(Call::Read)).flatten());
    if let Some(Trouble::Error(error)) = trouble {
        return failed(error) as isize;
    }
    // SAFETY: the caller's own arguments.
    let read = unsafe {
        match offset {
            Some(offset) => libc::syscall(libc::SYS_pread64, fd, into, length, offset),
            None => libc::syscall(libc::SYS_read, fd, into, length),
        }
    };
    isize::try_from(read).expect("a system call counts in machine words")
}

/// Opens.
#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    open_file(path, flags, mode)
}

/// Opens.
#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    open_file(path, flags, mode)
}

/// Writes where the descriptor stands.
#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize {
    write_at(fd, bytes, length, None)
}

/// Writes at an offset.
#[unsafe(no_mangle)]
extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, length: usize, offset: i64) -> isize {
    write_at(fd, bytes, length, Some(offset))
}

/// Reads where the descriptor stands.
#[unsafe(no_mangle)]
extern "C" fn read(fd: c_int, into: *mut c_void, length: usize) -> isize {
    read_at(fd, into, length, None)
}

/// Reads at an offset.
#[unsafe(no_mangle)]
extern "C" fn pread64(fd: c_int, into: *mut c_void, length: usize, offset: i64) -> isize {
    read_at(fd, into, length, Some(offset))
}

/// Syncs a file or a folder.
#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync_file(fd, libc::SYS_fsync)
}

/// Syncs a file's bytes.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync_file(fd, libc::SYS_fdatasync)
}

/// Sets a file's length.
#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    let id = id_of(fd);
    let trouble = id.and_then(|_| inside(|watch| watch.strike(Call::Truncate)).flatten());
    if let Some(Trouble::Error(error)) = trouble {
        return failed(error);
    }
    // SAFETY: the caller's own arguments.
    let result = unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) };
    if let (Some(id), 0, Ok(length)) = (id, result, usize::try_from(length)) {
        inside(|watch| watch.ops.push(Op::Truncate { id, length }));
    }
    c_int::try_from(result).unwrap_or(-1)
}

/// Makes a hole in a file. Nothing else is done with it here.
#[unsafe(no_mangle)]
extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: i64, length: i64) -> c_int {
    let id = id_of(fd);
    let trouble = id.and_then(|_| inside(|watch| watch.strike(Call::Truncate)).flatten());
    if let Some(Trouble::Error(error)) = trouble {
        return failed(error);
    }
    // SAFETY: the caller's own arguments.
    let result = unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, offset, length) };
    if let (Some(id), 0, Ok(offset), Ok(length)) =
        (id, result, usize::try_from(offset), usize::try_from(length))
    {
        inside(|watch| watch.ops.push(Op::Hole { id, offset, length }));
    }
    c_int::try_from(result).unwrap_or(-1)
}

/// Gives a file another name.
#[unsafe(no_mangle)]
extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let names = inside(|watch| Some((watch.name(path_of(from))?, watch.name(path_of(to))?)));
    change_names(names.flatten().map(|(from, to)| Op::Rename { from, to }), to, || {
        // SAFETY: the caller's own arguments.
        unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
    })
}

/// Takes a file's name away.
#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    let name = inside(|watch| watch.name(path_of(path))).flatten();
    change_names(name.map(|name| Op::Unlink { name }), path, || {
        // SAFETY: the caller's own argument.
        unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) }
    })
}

/// `gone` is the name whose file, if there is one, loses it.
fn change_names(
    op: Option<Op>,
    gone: *const c_char,
    change: impl FnOnce() -> libc::c_long,
) -> c_int {
    use std::os::unix::fs::MetadataExt;
    let trouble = op.as_ref().and_then(|_| inside(|watch| watch.strike(Call::Name)).flatten());
    if let Some(Trouble::Error(error)) = trouble {
        return failed(error);
    }
    let gone = op.as_ref().and_then(|_| Some(std::fs::metadata(path_of(gone)).ok()?.ino()));
    let result = change();
    if let (Some(op), 0) = (op, result) {
        inside(|watch| {
            // The system may give its number to another file.
            gone.map(|gone| watch.ids.remove(&gone));
            watch.ops.push(op);
        });
    }
    c_int::try_from(result).unwrap_or(-1)
}
