package extract

import "sync"

// task is a piece of work for a worker.
type task struct {
	dir     *node
	list    bool    // list dir, which is open
	sub     *entry  // or: make this directory in dir, and list it
	entries []entry // or: copy these into dir
}

// queue is the stack of tasks that all workers share. The last one in is the
// first one out, so that a tree is walked in depth and few directories are
// open at a time.
type queue struct {
	mu     sync.Mutex // guards stack and active
	more   sync.Cond  // on mu: a task came, or the last one ended
	stack  []task
	active int // tasks that workers have taken and not ended
}

func (q *queue) init() { q.more.L = &q.mu }

func (q *queue) push(t task) {
	q.mu.Lock()
	q.stack = append(q.stack, t)
	q.mu.Unlock()
	q.more.Signal()
}

// length is how many tasks wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.stack)
}

// pop takes a task, and waits for one while others are at work that may bring
// more. False is the end.
func (q *queue) pop() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.stack) == 0 {
		if q.active == 0 {
			return task{}, false
		}
		q.more.Wait()
	}
	last := len(q.stack) - 1
	t := q.stack[last]
	q.stack[last] = task{}
	q.stack = q.stack[:last]
	q.active++
	return t, true
}

// end ends a task that pop gave.
func (q *queue) end() {
	q.mu.Lock()
	q.active--
	over := q.active == 0 && len(q.stack) == 0
	q.mu.Unlock()
	if over {
		q.more.Broadcast()
	}
}
