package ext4fs

import (
	"fmt"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
	"golang.org/x/sys/unix"
)

// cpuTime is what all threads of the process have computed so far: with the
// commits and the garbage collector, and without what others do on the machine.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchNames opens a sparse image with a journal.
func benchNames(b *testing.B, size int64, args ...string) (*FS, *Inode) {
	path := b.TempDir() + "/img"
	testimages.Mkfs(b, path, size, args...)
	f, err := OpenFile(path, &Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	root, err := f.Root()
	if err != nil {
		b.Fatal(err)
	}
	return f, root
}

// makeName makes something with a name, which is kept, as a mount keeps what the
// kernel knows.
func makeName(b *testing.B, d *Inode, name string, mode uint16) *Inode {
	i, err := d.Create(name, &NewNode{Mode: mode})
	if err != nil {
		b.Fatal(err)
	}
	if !i.Keep() {
		b.Fatal("gone")
	}
	return i
}

// BenchmarkNames changes 30,000 names of a directory at a time.
func BenchmarkNames(b *testing.B) {
	const count = 30_000
	f, root := benchNames(b, 2<<30, "-N", "400000")
	names, others := make([]string, count), make([]string, count)
	for n := range names {
		names[n], others[n] = fmt.Sprintf("file-%06d", n), fmt.Sprintf("other-%06d", n)
	}
	inodes := make([]*Inode, count)
	check := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	create := func(d *Inode, n int) { inodes[n] = makeName(b, d, names[n], 0o100644) }
	mkdir := func(d *Inode, n int) { inodes[n] = makeName(b, d, names[n], 0o040755) }
	unlink := func(d *Inode, n int) {
		check(d.Unlink(names[n]))
		check(inodes[n].Unkeep())
	}
	rmdir := func(d *Inode, n int) {
		check(d.Rmdir(names[n]))
		check(inodes[n].Unkeep())
	}
	rename := func(d *Inode, n int) { check(d.Rename(names[n], d, others[n], 0)) }
	back := func(d *Inode, n int) { check(d.Rename(others[n], d, names[n], 0)) }
	none := func(d *Inode, n int) {
		if _, err := d.LookupEntry(others[n]); err != ErrNotExist {
			b.Fatal(err)
		}
	}
	round := 0
	for _, c := range []struct {
		name  string
		steps []func(d *Inode, n int)
		at    int // the step that is measured
	}{
		{"create", []func(*Inode, int){create, unlink}, 0},
		{"unlink", []func(*Inode, int){create, unlink}, 1},
		{"mkdir", []func(*Inode, int){mkdir, rmdir}, 0},
		{"rmdir", []func(*Inode, int){mkdir, rmdir}, 1},
		{"rename", []func(*Inode, int){create, rename, back, unlink}, 1},
		{"lookup-none", []func(*Inode, int){create, none, unlink}, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var cpu time.Duration
			for b.Loop() {
				b.StopTimer()
				round++
				d := makeName(b, root, fmt.Sprint("d", round), 0o040755)
				for k, step := range c.steps {
					check(f.Sync(b.Context()))
					if k == c.at {
						b.StartTimer()
						cpu -= cpuTime(b)
					}
					for n := range names {
						step(d, n)
					}
					if k == c.at {
						cpu += cpuTime(b)
						b.StopTimer()
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(cpu)/float64(b.N*count), "cpu-ns/name")
		})
	}
}

// BenchmarkNames_million tells what a name costs as its directory grows.
func BenchmarkNames_million(b *testing.B) {
	const million, part = 1_000_000, 100_000
	names := make([]string, million)
	for n := range names {
		names[n] = fmt.Sprintf("file-%07d", n)
	}
	for b.Loop() {
		_, root := benchNames(b, 4<<30, "-N", "1200000")
		d := makeName(b, root, "d", 0o040755)
		from := cpuTime(b)
		for n, name := range names {
			makeName(b, d, name, 0o100644)
			if (n+1)%part == 0 {
				now := cpuTime(b)
				b.ReportMetric(float64(now-from)/part, fmt.Sprintf("cpu-ns/name-%02d", (n+1)/part))
				from = now
			}
		}
	}
}
