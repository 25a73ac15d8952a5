//go:build linux && !386

package mount

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// BenchmarkTransport compares our transport to go-fuse's server on a file
// system that does nothing.
func BenchmarkTransport(b *testing.B) {
	testimages.RequireFUSE(b)
	for _, server := range []struct {
		name  string
		mount func(b *testing.B) string
	}{
		{"own", func(b *testing.B) string { _, dir := mountNull(b, newNullFS()); return dir }},
		{"gofuse", mountGoFuse},
	} {
		b.Run("server="+server.name, func(b *testing.B) { benchJobs(b, server.mount(b)) })
	}
}

func mountGoFuse(b *testing.B) string {
	dir := b.TempDir()
	srv, err := fuse.NewServer(newNullFS(), dir, &fuse.MountOptions{
		DirectMount: os.Geteuid() == 0, MaxWrite: maxWrite, MaxBackground: maxBackground, DisableSplice: true,
		Options: []string{"default_permissions"}, ExplicitDataCacheControl: true,
		ExtraCapabilities: wanted,
	})
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve()
	if err := srv.WaitMount(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH); srv.Wait() })
	return dir
}

func benchJobs(b *testing.B, dir string) {
	file := filepath.Join(dir, "data")
	for _, job := range []struct {
		name    string
		clients int
		size    int
		op      func(fd int, buf []byte, off int64) error
	}{
		{"statfs/clients=1", 1, 0, statfsOf},
		{"statfs/clients=2", 2, 0, statfsOf},
		{"statfs/clients=16", 16, 0, statfsOf},
		{"read4k/clients=1", 1, 4 << 10, preadOf},
		{"read1m/clients=1", 1, 1 << 20, preadOf},
		{"read1m/clients=4", 4, 1 << 20, preadOf},
		{"write4k/clients=1", 1, 4 << 10, pwriteOf},
		{"write1m/clients=1", 1, 1 << 20, pwriteOf},
		{"write1m/clients=4", 4, 1 << 20, pwriteOf},
	} {
		b.Run(job.name, func(b *testing.B) {
			if job.size > 0 {
				b.SetBytes(int64(job.size))
			}
			fd, err := unix.Open(file, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fd)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime()
			var wg sync.WaitGroup
			for c := range job.clients {
				n := b.N / job.clients
				if c == 0 {
					n += b.N % job.clients
				}
				wg.Go(func() { benchClient(b, fd, job.size, n, job.op) })
			}
			wg.Wait()
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func benchClient(b *testing.B, fd, size, n int, op func(int, []byte, int64) error) {
	buf, err := unix.Mmap(-1, 0, max(size, 4096), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = unix.Munmap(buf) }()
	for i := range n {
		if err := op(fd, buf[:size], int64(i%1024)*int64(size)); err != nil {
			b.Error(err)
			return
		}
	}
}

// cpuTime is what client and server have computed, in nanoseconds: it suffers
// less from others on the machine than the time that passes.
func cpuTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func statfsOf(fd int, _ []byte, _ int64) error {
	var st syscall.Statfs_t
	return syscall.Fstatfs(fd, &st)
}

func preadOf(fd int, buf []byte, off int64) error {
	_, err := unix.Pread(fd, buf, off)
	return err
}

func pwriteOf(fd int, buf []byte, off int64) error {
	_, err := unix.Pwrite(fd, buf, off)
	return err
}

// BenchmarkQuick compares what it costs to take requests apart and to answer
// them by the fast path and by go-fuse's ProtocolServer, without a kernel and
// with a file system that does nothing.
func BenchmarkQuick(b *testing.B) {
	tr := newTransport(-1, quietFS{fuse.NewDefaultRawFileSystem()}, &transportOptions{}, &opStats{})
	for _, op := range []uint32{opCreate, opRelease, opUnlink, opRename, opSetattr, opGetxattr} {
		names := []string{"some-name-000001", "some-name-000002"}[:fastOps[op].names]
		req := frame(op, 1, 2, bodyOf(op, names...))
		if op == opGetxattr {
			req = frame(op, 1, 2, sized(op, 256, names...))
		}
		h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
		ch := &channel{way: &nowhere{}, fd: -1, hdr: new(fuse.OutHeader), out: make([]byte, 64<<10), small: make([]byte, smallLen)}
		for _, path := range []string{"fast", "slow"} {
			b.Run("op="+opName(op)+"/path="+path, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if path == "slow" {
						tr.slow(ch, req, ch.out)
					} else if _, _, ok := tr.quick(ch, h, req); !ok {
						b.Fatal("not taken")
					}
				}
			})
		}
	}
}
