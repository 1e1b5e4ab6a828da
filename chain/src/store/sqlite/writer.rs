//! Commits beside the ledger: another thread gives SQLite the rows of one commit while the ledger
//! goes on with the next.
//!
//! The connection that writes goes to that thread with the rows, and comes back when they are
//! committed. Meanwhile the store reads through a connection of its own, with the rows that are on
//! their way on top.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use rusqlite::Connection;

use super::unwritten::Unwritten;
use super::{CHECKPOINT_PAGES, SqliteArchive, SqliteStore, StoreError};

/// One commit.
#[derive(Debug)]
struct Job {
    index: Connection,
    rows: Arc<Unwritten>,
}

/// The connection back, and what came of it.
type Done = (Connection, rusqlite::Result<()>);

/// The store's side.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// What the store reads through while the other connection is away, and the other way round.
    spare: Option<Connection>,
    /// On their way, while the connection that writes is away.
    rows: Option<Arc<Unwritten>>,
    /// Commits begun on the other thread, and the number of the last that the store was asked for:
    /// one more than have begun if it waits for the one under way.
    begun: u64,
    asked: u64,
    /// In SQLite's log after the last commit.
    log_pages: Arc<AtomicI32>,
    is_moving_pages: Arc<AtomicBool>,
}

impl Writer {
    /// The rows on their way.
    pub(super) fn rows(&self) -> Option<&Unwritten> {
        self.rows.as_deref()
    }

    /// Whether whoever reads meanwhile must not hold a transaction open.
    pub(super) fn is_moving_pages(&self) -> bool {
        self.is_moving_pages.load(Ordering::Acquire)
    }
}

/// What the other thread runs.
#[derive(Debug)]
pub struct IndexWriter {
    jobs: Receiver<Job>,
    done: Sender<Done>,
    notices: Sender<()>,
    is_moving_pages: Arc<AtomicBool>,
}

impl IndexWriter {
    /// Writes what the store gives it until the store is dropped.
    pub fn run(self) {
        while self.step() {}
    }

    /// Waits for one commit and writes it; `false` = the store is gone.
    pub fn step(&self) -> bool {
        let Ok(Job { index, rows }) = self.jobs.recv() else { return false };
        let result = self.write(&index, &rows);
        drop(rows);
        let is_there = self.done.send((index, result)).is_ok();
        self.notices.try_send(()).ok(); // one notice is enough
        is_there
    }

    fn write(&self, index: &Connection, rows: &Unwritten) -> rusqlite::Result<()> {
        if self.is_moving_pages.load(Ordering::Acquire) {
            // SQLite's log begins anew with the next commit if nobody reads in it by then.
            let moved = index.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            self.is_moving_pages.store(false, Ordering::Release);
            moved?;
        }
        index.execute_batch("BEGIN IMMEDIATE")?;
        rows.write(index)?;
        index.execute_batch("COMMIT")
    }
}

impl SqliteStore {
    /// Lets commits happen on another thread from now on: on that which runs what is returned, and
    /// which must be running before the next one. The receiver hears of each that has ended.
    ///
    /// # Errors
    /// When the index cannot be opened once more.
    pub fn write_elsewhere(&mut self) -> Result<(IndexWriter, Receiver<()>), StoreError> {
        let spare = Some(SqliteArchive::connect(&self.archive.path)?);
        // There is one job at a time.
        let (jobs, jobs_out) = bounded(1);
        let (done, done_out) = bounded(1);
        let (notices, notices_out) = bounded(1);
        let (log_pages, is_moving_pages) = (Arc::default(), Arc::<AtomicBool>::default());
        let pages: Arc<AtomicI32> = Arc::clone(&log_pages);
        // In place of SQLite's own hook, which moves pages within the commit.
        let note = move |_: &mut _, count| {
            pages.store(count, Ordering::Release);
            Ok(())
        };
        let noted = self.archive.connection.wal_hook(Some(note));
        noted.map_err(|error| self.archive.error(&error))?;
        let moving = Arc::clone(&is_moving_pages);
        self.writer = Some(Writer {
            jobs,
            done: done_out,
            spare,
            rows: None,
            begun: 0,
            asked: 0,
            log_pages,
            is_moving_pages,
        });
        let writer = IndexWriter { jobs: jobs_out, done, notices, is_moving_pages: moving };
        Ok((writer, notices_out))
    }

    /// Begins to commit what is held back, on the other thread. Nothing else has been written.
    pub(super) fn hand_over(&mut self) -> Result<(), StoreError> {
        assert!(!self.is_writing, "the other connection sees nothing of it");
        self.end_reads()?;
        let writer = self.writer.as_mut().expect("there is another thread");
        let is_long = writer.log_pages.load(Ordering::Acquire) >= CHECKPOINT_PAGES;
        writer.is_moving_pages.store(is_long, Ordering::Release);
        let spare = writer.spare.take().expect("the connection that writes is here");
        let index = mem::replace(&mut self.archive.connection, spare);
        let rows = Arc::new(mem::take(&mut self.unwritten));
        writer.rows = Some(Arc::clone(&rows));
        writer.begun += 1;
        writer.jobs.send(Job { index, rows }).map_err(|_| self.has_no_writer())
    }

    /// Whether a commit has begun and its end was not seen.
    pub(super) fn is_under_way(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.rows.is_some())
    }

    /// Notes that the store was asked for all that it holds to be committed: what has begun, and
    /// what waits for that to end.
    pub(super) fn note_asked(&mut self) {
        let waits = self.is_under_way() && !self.unwritten.is_empty();
        if let Some(writer) = &mut self.writer {
            writer.asked = writer.begun + u64::from(waits);
        }
    }

    /// Whether the last commit that the store was asked for has ended; begins it if it waited.
    /// Another one may be under way, of rows that were too many.
    pub(super) fn has_done_what_was_asked(&mut self) -> Result<bool, StoreError> {
        let Some(writer) = &self.writer else { return Ok(true) };
        if writer.rows.is_some() {
            match writer.done.try_recv() {
                Ok(done) => self.take_back(done)?,
                Err(TryRecvError::Empty) => return Ok(writer.asked < writer.begun),
                Err(TryRecvError::Disconnected) => return Err(self.has_no_writer()),
            }
        }
        if self.writer.as_ref().is_some_and(|writer| writer.asked > writer.begun) {
            self.begin_commit()?;
            self.note_asked(); // it has begun, or nothing was left for it
        }
        Ok(!self.is_under_way())
    }

    /// Waits for the commit under way, if there is one.
    pub(super) fn wait(&mut self) -> Result<(), StoreError> {
        let Some(writer) = self.writer.as_ref().filter(|writer| writer.rows.is_some()) else {
            return Ok(());
        };
        match writer.done.recv() {
            Ok(done) => self.take_back(done),
            Err(_) => Err(self.has_no_writer()),
        }
    }

    fn take_back(&mut self, (index, result): Done) -> Result<(), StoreError> {
        let reads = self.end_reads();
        let writer = self.writer.as_mut().expect("there is another thread");
        writer.spare = Some(mem::replace(&mut self.archive.connection, index));
        writer.rows = None;
        result.map_err(|error| self.archive.error(&error))?;
        reads
    }

    fn has_no_writer(&self) -> StoreError {
        let message = "the thread that writes it has ended".to_string();
        StoreError::Index { path: self.archive.path.clone(), message }
    }
}
