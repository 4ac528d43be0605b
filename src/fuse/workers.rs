//! Workers: threads that run tasks which may block. There are as many as tasks ran at once, up to
//! a limit.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::guard::guarded;
use super::task::BlockingTask;

/// A group of worker threads. They run on the processors on which their creator may run.
pub(super) struct Workers {
    name: &'static str,
    /// The limit of threads.
    max: usize,
    state: Arc<WorkersState>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct WorkersState {
    tasks: Mutex<TaskQueue>,
    more: Condvar,
}

#[derive(Default)]
struct TaskQueue {
    waiting: VecDeque<BlockingTask>,
    idle: usize,
    over: bool,
}

impl Workers {
    /// Returns a group without threads. There will be at most `max`, with this name.
    pub(super) fn new(name: &'static str, max: usize) -> Self {
        Self {
            name,
            max,
            state: Arc::default(),
            threads: Vec::new(),
        }
    }

    /// Runs a task on a free thread, or on a new one if all are busy. If no thread can be started
    /// the caller runs it.
    pub(super) fn run(&mut self, task: BlockingTask) {
        if let Err(error) = self.queue(task) {
            log::error!("no thread for a request that may wait: {error}");
            let task = self.state.tasks.lock().waiting.pop_back();
            if let Some(task) = task {
                run(task);
            }
        }
    }

    /// Runs a task in the same way, but never on the calling thread: if no thread can be started,
    /// the next free one runs it.
    pub(super) fn queue(&mut self, task: BlockingTask) -> io::Result<()> {
        let mut tasks = self.state.tasks.lock();
        tasks.waiting.push_back(task);
        if tasks.waiting.len() <= tasks.idle || self.threads.len() >= self.max {
            self.state.more.notify_one();
            return Ok(());
        }
        drop(tasks);
        self.start()
    }

    /// Starts another thread.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let state = Arc::clone(&self.state);
        let thread = std::thread::Builder::new().name(self.name.into());
        self.threads.push(thread.spawn(move || state.work())?);
        Ok(())
    }
}

impl Drop for Workers {
    /// Waits for the running tasks, except for one that drops this group itself.
    fn drop(&mut self) {
        self.state.tasks.lock().over = true;
        self.state.more.notify_all();
        let own = std::thread::current().id();
        let others = |thread: &JoinHandle<()>| thread.thread().id() != own;
        for thread in self.threads.drain(..).filter(others) {
            // A panic was logged already.
            let _ended = thread.join();
        }
    }
}

fn run(task: BlockingTask) {
    // A panic drops the slot, which replies EIO.
    let _told = guarded(|| {
        task();
        Ok(())
    });
}

impl WorkersState {
    fn work(&self) {
        let mut tasks = self.tasks.lock();
        loop {
            if let Some(task) = tasks.waiting.pop_front() {
                drop(tasks);
                run(task);
                tasks = self.tasks.lock();
            } else if tasks.over {
                return;
            } else {
                tasks.idle += 1;
                self.more.wait(&mut tasks);
                tasks.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn blocked_and_panicking_tasks_do_not_hold_up_others() {
        let mut workers = Workers::new("test", 16);
        let (go, wait) = channel::<()>();
        let (done, ended) = channel();
        workers.run(Box::new(move || {
            let _gone = wait.recv();
        }));
        workers.run(Box::new(|| panic!("as a test")));
        for number in 0..100 {
            let done = done.clone();
            workers.run(Box::new(move || done.send(number).unwrap()));
        }
        let mut numbers: Vec<i32> = ended.iter().take(100).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        drop(go);
    }
}
