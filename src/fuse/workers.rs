//! Workers: threads for what may wait or work for long, so that whoever asks for it goes on
//! meanwhile. There are as many as were needed at once.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::service::guarded;
use super::task::Task;

/// Workers. They run on the processors that whoever asks for them runs on.
pub(super) struct Workers {
    name: &'static str,
    /// How many there may be.
    most: usize,
    shared: Arc<WorkersState>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct WorkersState {
    tasks: Mutex<TaskQueue>,
    more: Condvar,
}

#[derive(Default)]
struct TaskQueue {
    waiting: VecDeque<Task>,
    idle: usize,
    over: bool,
}

impl Workers {
    /// None yet, whose threads will have this name, and `most` of them at most.
    pub(super) fn new(name: &'static str, most: usize) -> Self {
        Self {
            name,
            most,
            shared: Arc::default(),
            threads: Vec::new(),
        }
    }

    /// Has a task done, by a new thread if all are busy; by the caller if there can be none.
    pub(super) fn run(&mut self, task: Task) {
        if let Err(error) = self.queue(task) {
            log::error!("no thread for a request that may wait: {error}");
            // Better slow than never.
            let task = self.shared.tasks.lock().waiting.pop_back();
            if let Some(task) = task {
                run(task);
            }
        }
    }

    /// The same, but never by the caller: if there can be no new thread, whichever is done first
    /// does the task.
    pub(super) fn queue(&mut self, task: Task) -> io::Result<()> {
        let mut tasks = self.shared.tasks.lock();
        tasks.waiting.push_back(task);
        if tasks.waiting.len() <= tasks.idle || self.threads.len() >= self.most {
            self.shared.more.notify_one();
            return Ok(());
        }
        drop(tasks);
        self.start()
    }

    /// Starts a thread more.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(self.name.into());
        self.threads.push(thread.spawn(move || shared.work())?);
        Ok(())
    }
}

impl Drop for Workers {
    /// Waits for what is being done, unless one of them drops it while doing it.
    fn drop(&mut self) {
        self.shared.tasks.lock().over = true;
        self.shared.more.notify_all();
        let own = std::thread::current().id();
        let others = |thread: &JoinHandle<()>| thread.thread().id() != own;
        for thread in self.threads.drain(..).filter(others) {
            // One that panicked has said so.
            let _ended = thread.join();
        }
    }
}

fn run(task: Task) {
    // A panic drops the answer, which tells the kernel.
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
    fn who_waits_keeps_nobody_waiting_and_a_panic_is_one_tasks_alone() {
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
