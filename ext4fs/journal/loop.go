package journal

import (
	"errors"
	"time"
)

var errUnknown = errors.New("no reason given")

// step is what the goroutine does next.
type step uint8

const (
	stepWait step = iota
	stepCommit
	stepJob
	stepFail
	stepStop
)

// run is the journal's goroutine. Commits and checkpoints take turns in it, so
// that an old copy of a block can never be on its way home when the commit
// that freed the block lets others write there.
func (j *Journal) run() {
	defer close(j.stopped)
	defer j.cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failed := false
	for {
		next, wait := j.choose(failed)
		switch next {
		case stepCommit:
			if err := j.commitRunning(); err != nil {
				j.Abort(err)
			}
		case stepJob:
			j.work()
		case stepFail:
			j.fail(!failed)
			failed = true
		case stepStop:
			return
		case stepWait:
			timer.Reset(wait)
			select {
			case <-j.wake:
			case <-timer.C:
			}
		}
	}
}

// choose finds the next step, and how long to wait if there is none.
func (j *Journal) choose(failed bool) (step, time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return stepStop, 0
	case j.Err() != nil && (!failed || len(j.jobs) > 0):
		return stepFail, 0
	case failed:
		return stepWait, time.Hour
	}
	wait := j.age()
	if t := j.running; t != nil && j.holds == 0 {
		if j.closing && len(j.jobs) > 0 && (t.handles > 0 || !t.empty()) {
			j.wanted = true // a handle was restarted after Close
		}
		if j.wanted {
			return stepCommit, 0
		}
	}
	if j.running == nil {
		j.wanted = false
	}
	if len(j.jobs) > 0 && !j.wanted && j.restarts == 0 {
		return stepJob, 0
	}
	return stepWait, wait
}

// age asks for a commit of a transaction that is old enough, and returns when
// that will be. Called with mu.
func (j *Journal) age() time.Duration {
	t := j.running
	if t == nil || j.cfg.Interval < 0 {
		return time.Hour
	}
	left := j.cfg.Interval - time.Since(t.started)
	if left > 0 {
		return left
	}
	if t.empty() {
		t.started = time.Now()
		return j.cfg.Interval
	}
	j.wanted = true
	return time.Hour
}

// work does the jobs there are with one checkpoint.
func (j *Journal) work() {
	j.mu.Lock()
	jobs := j.jobs
	j.jobs = nil
	j.broadcast() // they need no commit any more: see Hold
	j.mu.Unlock()
	err := j.checkpointAll()
	if err != nil {
		j.Abort(err)
		err = j.Err()
	}
	j.mu.Lock()
	for _, w := range jobs {
		if w.close && err == nil {
			j.closed, j.running = true, nil
			j.broadcast()
		}
	}
	if err != nil {
		j.jobs = append(jobs, j.jobs...) // fail tells them
		jobs = nil
	}
	j.mu.Unlock()
	for _, w := range jobs {
		close(w.done)
	}
}

// fail tells everybody that the journal has aborted, and the log.
func (j *Journal) fail(first bool) {
	err := j.Err()
	j.mu.Lock()
	gone := []*transaction{j.running, j.committing}
	j.running, j.committing = nil, nil
	jobs := j.jobs
	j.jobs = nil
	for _, w := range jobs {
		j.closed = j.closed || w.close
	}
	j.broadcast()
	j.mu.Unlock()
	if first && j.log != nil {
		// A device that fails may fail here too; there is nobody to tell.
		_ = j.log.writeErrno(err)
	}
	for _, t := range gone {
		if t != nil {
			t.err = err
			close(t.done)
		}
	}
	for _, w := range jobs {
		w.err = err
		close(w.done)
	}
}

// checkpointAll writes everything home and marks the log empty.
func (j *Journal) checkpointAll() error {
	if j.log == nil {
		return j.flusher.flush(j.ctx)
	}
	return j.emptyLog()
}
