package dump

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// flexTask is how many groups a worker takes at once where their results are
// small: those of a flex group have their bitmaps side by side.
const flexTask = 16

// inOrder runs work for every group on all processors, perTask groups at a
// time, and yields the results in the order of the groups. It stops when ctx
// ends, with its error, and returns only when no worker runs any more. There
// are never more than two tasks' results per processor in memory.
func inOrder[T any](ctx context.Context, groups, perTask disk.GroupNum, work func(disk.GroupNum) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		tasks := (uint64(groups) + uint64(perTask) - 1) / uint64(perTask)
		workers := int(min(uint64(runtime.GOMAXPROCS(0)), tasks))
		if workers <= 1 {
			for g := range groups {
				if err := ctx.Err(); err != nil {
					yield(zero, err)
					return
				}
				if !yield(work(g), nil) {
					return
				}
			}
			return
		}
		// The ring bounds how far workers run ahead of the reader.
		ring := make([]chan []T, 2*workers)
		for i := range ring {
			ring[i] = make(chan []T, 1)
		}
		room := make(chan struct{}, len(ring))
		stop := make(chan struct{})
		var next atomic.Uint64
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		for range workers {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case room <- struct{}{}:
					}
					task := next.Add(1) - 1
					if task >= tasks {
						return
					}
					ring[task%uint64(len(ring))] <- runTask(ctx, disk.GroupNum(task)*perTask, min(perTask, groups-disk.GroupNum(task)*perTask), work)
				}
			})
		}
		for task := range tasks {
			list := <-ring[task%uint64(len(ring))]
			<-room
			for _, v := range list {
				if !yield(v, nil) {
					return
				}
			}
			if err := ctx.Err(); err != nil {
				yield(zero, err)
				return
			}
		}
	}
}

func runTask[T any](ctx context.Context, first, n disk.GroupNum, work func(disk.GroupNum) T) []T {
	list := make([]T, 0, n)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		list = append(list, work(first+i))
	}
	return list
}
