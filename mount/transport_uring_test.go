//go:build linux && !386

package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The tests of the transport in front of the kernel, by io_uring.
func TestTransport_byURing(t *testing.T) {
	testimages.RequireURing(t, true)
	nullByURing = true
	t.Cleanup(func() { nullByURing = false })
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"kernel", TestTransport_kernel},
		{"longRequestsStarveNobody", TestTransport_longRequestsStarveNobody},
		{"interruptAndAbort", TestTransport_interruptAndAbort},
		{"panicFailsOneRequest", TestTransport_panicFailsOneRequest},
		{"unmountBusy", TestTransport_unmountBusy},
		{"jobs", testURingJobs},
		{"grows", testURingGrows},
	} {
		t.Run(test.name, test.run)
	}
}

// slowFS takes its time for some reads and writes, and knows what data belongs
// where.
type slowFS struct {
	*nullFS
	calls atomic.Int64
}

// dataAt puts into b what is at off: a number in every sector.
func dataAt(b []byte, off uint64) {
	clear(b)
	for i := 0; i < len(b); i += 512 {
		binary.LittleEndian.PutUint64(b[i:], off+uint64(i))
	}
}

func (s *slowFS) wait() {
	if s.calls.Add(1)%4 != 0 {
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *slowFS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	s.wait()
	dataAt(buf, in.Offset)
	return fuse.ReadResultData(buf), fuse.OK
}

func (s *slowFS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	s.wait()
	want := make([]byte, len(data))
	if dataAt(want, in.Offset); !bytes.Equal(data, want) {
		return 0, fuse.Status(unix.EILSEQ)
	}
	return uint32(len(data)), fuse.OK
}

// Requests of many processes at a time, answered by the thread that took them and
// by others, get each their own data.
func testURingJobs(t *testing.T) {
	ses, dir := mountNull(t, &slowFS{nullFS: newNullFS()})
	var wg sync.WaitGroup
	for job := range 40 {
		wg.Go(func() {
			fd, err := unix.Open(filepath.Join(dir, "data"), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = unix.Munmap(mem) }()
			for i := range 12 {
				size := 4096 << ((job + i) % 8)
				if err := jobStep(fd, mem[:size], uint64(job)<<32+uint64(i*size), i%2 == 0); err != nil {
					t.Errorf("job %d, step %d, %d bytes: %v", job, i, size, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := waitAway(ses.t.uring); n != 0 {
		t.Errorf("%d entries are not back", n)
	}
}

// waitAway waits until nobody but the kernel has entries, and returns how many
// somebody has.
func waitAway(u *uring) (n int) {
	for range 1000 {
		n = 0
		for _, th := range u.threads {
			th.mu.Lock()
			n += len(th.answered)
			th.mu.Unlock()
		}
		if n += int(u.t.inFlight.Load()); n == 0 {
			return 0
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// More requests that wait than there is room for at first keep nobody out.
func testURingGrows(t *testing.T) {
	raw := newNullFS()
	ses, dir := mountNull(t, raw)
	ses.t.mu.Lock()
	places := len(ses.t.channels)
	ses.t.mu.Unlock()
	var wg sync.WaitGroup
	for i := range places + 20 { // one after the other, or some would come too soon
		f, err := os.Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Error(err)
			break
		}
		wg.Go(func() {
			defer f.Close()
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		})
		select {
		case <-raw.waiting:
		case <-time.After(5 * time.Second):
			t.Errorf("the request after %d does not come in", i)
			ses.abort()
			wg.Wait()
			return
		}
	}
	close(raw.hold)
	wg.Wait()
}

func jobStep(fd int, b []byte, off uint64, write bool) error {
	if write {
		dataAt(b, off)
		n, err := unix.Pwrite(fd, b, int64(off))
		if err == nil && n != len(b) {
			err = io.ErrShortWrite
		}
		return err
	}
	clear(b)
	n, err := unix.Pread(fd, b, int64(off))
	if err != nil || n != len(b) {
		return fmt.Errorf("%d bytes, %w", n, err)
	}
	want := make([]byte, n)
	if dataAt(want, off); !bytes.Equal(b, want) {
		return errors.New("other data")
	}
	return nil
}
