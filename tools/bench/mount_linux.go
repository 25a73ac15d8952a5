package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// The mounting jobs compare "e4kit mount" with the kernel's loop mount of an
// equal image on the local disk. Only the load is timed, by the load itself:
// mounting, preparing and unmounting are not. The server's CPU time counts as
// ours, and its peak memory; what the loop device costs is not counted.
//
// Goals are those of a rate: a goal of 0.5 is met at twice the kernel's time.

const mountMemory = 200 << 20

// mountScale are the sizes of the mounting jobs.
type mountScale struct {
	file   int64 // bytes of the file that is read or written as a stream
	random int64 // bytes of the file of random accesses
	reads  int   // random accesses that hit the cache
	misses int   // random accesses that do not
	names  int   // files made, renamed, removed
	stats  int   // stats and opens, warm
	fsyncs int
	tree   string // a host folder that makes the tree
}

var (
	fullMount  = mountScale{file: 1 << 30, random: 256 << 20, reads: 400_000, misses: 10_000, names: 30_000, stats: 300_000, fsyncs: 400, tree: "/usr/share/doc"}
	smallMount = mountScale{file: 16 << 20, random: 8 << 20, reads: 5000, misses: 300, names: 500, stats: 2000, fsyncs: 20, tree: "/usr/share/perl"}
)

// mountLoad is what a mounting job does on a mount.
type mountLoad struct {
	name, what string
	rate       float64 // the goal, as a ratio of rates
	cold       bool    // mounted anew, the image out of the page cache, after setup
	setup      string  // a load that prepares, not timed
	load       string
	options    string // of our mount
	uring      bool   // by io_uring, which the kernel is made to offer
}

// mountLoads is the table of the project's promises.
func mountLoads() []mountLoad {
	return []mountLoad{
		{name: "seqwrite", what: "write 1 MiB pieces and fsync", rate: 0.9, load: "seq-write"},
		{name: "seqwrite-direct", what: "write 1 MiB pieces, direct, 4 at once", rate: 0.7, load: "seq-write-direct"},
		{name: "seqread-cold", what: "read 1 MiB pieces, cold", rate: 1, cold: true, setup: "seq-write", load: "seq-read"},
		{name: "seqread-direct", what: "read 1 MiB pieces, direct, 4 at once", rate: 0.8, cold: true, setup: "seq-write", load: "seq-read-direct"},
		{name: "seqread-warm", what: "read 1 MiB pieces, warm", rate: 1, setup: "seq-write-read", load: "seq-read-again"},
		{name: "rand-warm", what: "random 4 KiB reads, warm", rate: 1, setup: "rand-fill-read", load: "rand-read-warm"},
		{name: "rand-cold", what: "random 4 KiB reads, cold", rate: 0.8, cold: true, setup: "rand-fill", load: "rand-read-1"},
		{name: "rand-direct", what: "random 4 KiB reads, direct", rate: 0.7, cold: true, setup: "rand-fill", load: "rand-read-direct-1"},
		{name: "rand-direct-16", what: "random 4 KiB reads, direct, 16 at once", rate: 0.6, cold: true, setup: "rand-fill", load: "rand-read-direct-16"},
		{name: "randwrite", what: "random 4 KiB writes and fsync", rate: 0.8, setup: "rand-fill", load: "rand-write-1"},
		{name: "randwrite-direct", what: "random 4 KiB writes, direct", rate: 1, setup: "rand-fill", load: "rand-write-direct-1"},
		{name: "randwrite-direct-16", what: "random 4 KiB writes, direct, 16 at once", rate: 1.5, setup: "rand-fill", load: "rand-write-direct-16"},
		{name: "randwrite-direct-16-parallel", what: "random 4 KiB writes, direct, 16 at once, with parallel_dio", rate: 1.5, setup: "rand-fill", load: "rand-write-direct-16", options: "parallel_dio"},
		{name: "create", what: "create files", rate: 0.4, load: "create"},
		{name: "rename", what: "rename files", rate: 0.7, setup: "create", load: "rename"},
		{name: "unlink", what: "unlink files", rate: 0.5, setup: "create", load: "unlink"},
		{name: "stat-warm", what: "stat, warm", rate: 1, setup: "create", load: "stat-warm"},
		{name: "open-warm", what: "open and close, warm", rate: 1, setup: "create", load: "open-warm"},
		{name: "open-warm-noopen", what: "open and close, warm, with no_open", rate: 1, setup: "create", load: "open-warm", options: "no_open"},
		{name: "stat-cold", what: "stat, cold", rate: 0.8, cold: true, setup: "create", load: "stat"},
		{name: "readdir-cold", what: "list a directory, cold", rate: 0.8, cold: true, setup: "create", load: "readdir"},
		{name: "fsync-1", what: "4 KiB write and fsync, one", rate: 0.8, load: "fsync-1"},
		{name: "fsync-16", what: "4 KiB write and fsync, 16 at once", rate: 0.8, load: "fsync-16"},
		{name: "untar", what: "unpack a tree", rate: 0.5, load: "untar"},
		{name: "du-cold", what: "du of a tree, cold", rate: 0.5, cold: true, setup: "untar", load: "du"},
		{name: "find-warm", what: "find in a tree, warm", rate: 0.5, setup: "untar-find", load: "find"},
		{name: "readall-cold", what: "read every file of a tree, cold", rate: 0.5, cold: true, setup: "untar", load: "read-all"},
		{name: "cp", what: "cp -a of a subtree", rate: 0.5, setup: "untar", load: "cp"},
		{name: "rm", what: "rm -rf of a tree", rate: 0.5, setup: "untar", load: "rm"},
		{name: "create-uring", what: "create files, by io_uring", rate: 0.4, load: "create", uring: true},
		{name: "rename-uring", what: "rename files, by io_uring", rate: 0.7, setup: "create", load: "rename", uring: true},
		{name: "unlink-uring", what: "unlink files, by io_uring", rate: 0.5, setup: "create", load: "unlink", uring: true},
		{name: "stat-cold-uring", what: "stat, cold, by io_uring", rate: 0.8, cold: true, setup: "create", load: "stat", uring: true},
		{name: "open-warm-uring", what: "open and close, warm, by io_uring", rate: 1, setup: "create", load: "open-warm", uring: true},
		{name: "randwrite-direct-16-uring", what: "random 4 KiB writes, direct, 16 at once, by io_uring", rate: 1.5, setup: "rand-fill", load: "rand-write-direct-16", uring: true},
		{name: "git", what: "git clone and git status", rate: 0.6, load: "git"},
		{name: "untar-uring", what: "unpack a tree, by io_uring", rate: 0.5, load: "untar", uring: true},
		{name: "cp-uring", what: "cp -a of a subtree, by io_uring", rate: 0.5, setup: "untar", load: "cp", uring: true},
		{name: "rm-uring", what: "rm -rf of a tree, by io_uring", rate: 0.5, setup: "untar", load: "rm", uring: true},
		{name: "git-uring", what: "git clone and git status, by io_uring", rate: 0.6, load: "git", uring: true},
	}
}

// mountJobs are the rows about mounts.
func mountJobs(scale string) []*job {
	var list []*job
	s := mountScales[scale]
	for _, l := range mountLoads() {
		list = append(list, &job{
			name: "mount-" + l.name, what: l.what + ", mounted", goal: 1 / l.rate, memory: mountMemory,
			prepare: mountSource(s, l), target: emptyTarget,
			peer: mountSide("kernel", l, scale, kernelMount),
			ours: mountSide("e4kit mount", l, scale, l.server()),
		})
	}
	return list
}

// A live mount ends by its end, which returns when the image is free.
type live struct {
	end func() error
	pid int // of the server, 0 for the kernel
}

func mountSide(name string, l mountLoad, scale string, open func(*bench, place) (*live, error)) side {
	return side{name: name, facts: imageFacts, checks: true, run: func(b *bench, p place) (cost, error) {
		return b.mountRun(l, scale, p, open)
	}}
}

// mountRun is one run of a load on one side.
func (b *bench) mountRun(l mountLoad, scale string, p place, open func(*bench, place) (*live, error)) (c cost, err error) {
	m, err := open(b, p)
	if err != nil {
		return c, err
	}
	defer func() {
		if m != nil {
			err = errors.Join(err, m.end())
		}
	}()
	if l.setup != "" {
		if _, err := b.load(l.setup, scale, p); err != nil {
			return c, err
		}
	}
	if l.cold {
		end := m.end
		m = nil
		if err := errors.Join(end(), b.settle(p.img)); err != nil {
			return c, err
		}
		if err := testimages.Evict(p.img); err != nil {
			return c, err
		}
		if m, err = open(b, p); err != nil {
			return c, err
		}
	}
	before := serverCost(m.pid)
	c, err = b.load(l.load, scale, p)
	after := serverCost(m.pid)
	c.CPU += after.CPU - before.CPU
	if m.pid != 0 {
		c.RSS = after.RSS // the client's is the same on both sides
	}
	return c, err
}

// load runs a load in a process of its own, which tells what it took.
func (b *bench) load(name, scale string, p place) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	c, err := measure(b.ctx, command{argv: []string{self, loadWord, name, scale, p.mnt, p.aux}, out: p.out})
	if err != nil {
		return c, err
	}
	text, err := os.ReadFile(p.out)
	if err != nil {
		return c, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	ns, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		return c, fmt.Errorf("load %s: %w", name, err)
	}
	c.Wall = time.Duration(ns)
	return c, nil
}

// kernelMount mounts by the kernel's driver.
func kernelMount(b *bench, p place) (*live, error) {
	if err := command1(b.ctx, "mount", "-i", "-t", "ext4", "-o", "loop", p.img, p.mnt); err != nil {
		return nil, err
	}
	return &live{end: func() error {
		err := b.unmount()
		// The loop device first writes all that the image's page cache holds.
		for range 6 {
			if serr := b.settle(p.img); serr == nil {
				return err
			}
		}
		return errors.Join(err, b.settle(p.img))
	}}, nil
}

// server is how our side mounts.
func (l mountLoad) server() func(*bench, place) (*live, error) {
	if !l.uring {
		return serverMount(l.options)
	}
	mount := serverMount("io_uring")
	return func(b *bench, p place) (*live, error) {
		end, err := testimages.OfferURing(true)
		if err != nil {
			return nil, err
		}
		m, err := mount(b, p)
		err = errors.Join(err, end())
		if err == nil && !hasRing(m.pid) {
			err = errors.New("not served by io_uring")
		}
		if err != nil && m != nil {
			return nil, errors.Join(err, m.end())
		}
		return m, err
	}
}

// hasRing reports whether a process has an io_uring open.
func hasRing(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if to, _ := os.Readlink(dir + f.Name()); strings.Contains(to, "[io_uring]") {
			return true
		}
	}
	return false
}

// serverMount mounts by e4kit in the foreground, as a child.
func serverMount(options string) func(*bench, place) (*live, error) {
	return func(b *bench, p place) (*live, error) {
		args := []string{"mount", "-f", p.img, p.mnt}
		if options != "" {
			args = append(args, "-o", options)
		}
		return startServer(exec.Command(b.e4kit, args...), b, p)
	}
}

func startServer(cmd *exec.Cmd, b *bench, p place) (*live, error) {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m := &live{pid: cmd.Process.Pid, end: func() error {
		err := b.unmount()
		select {
		case werr := <-ended:
			if werr != nil {
				err = errors.Join(err, fmt.Errorf("e4kit mount: %w: %s", werr, complaint.String()))
			}
		case <-time.After(60 * time.Second):
			cmd.Process.Kill()
			err = errors.Join(err, errors.New("e4kit mount does not end"), <-ended)
		}
		return err
	}}
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if isMount(p.mnt) {
			return m, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("e4kit mount: %v: %s", err, complaint.String())
		default:
		}
		if time.Now().After(limit) {
			return nil, errors.Join(errors.New("e4kit mount does not become ready"), m.end())
		}
	}
}

// isMount tells whether dir is another file system than its parent.
func isMount(dir string) bool {
	var a, b unix.Stat_t
	return unix.Lstat(dir, &a) == nil && unix.Lstat(filepath.Dir(dir), &b) == nil && a.Dev != b.Dev
}

// clockTick is the kernel's USER_HZ.
const clockTick = 100

// serverCost is what a process has taken so far.
func serverCost(pid int) cost {
	var c cost
	if pid == 0 {
		return c
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if at := bytes.LastIndexByte(stat, ')'); at >= 0 { // a name may hold anything
		if f := strings.Fields(string(stat[at+1:])); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			c.CPU = time.Duration(user+system) * time.Second / clockTick
		}
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			c.RSS = kib << 10
		}
	}
	return c
}

// mountSource makes what a load takes from the host: an archive of a tree, or a
// repository to clone.
func mountSource(s mountScale, l mountLoad) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		switch {
		case l.load == "git":
			return b.gitSource(s)
		case strings.HasPrefix(l.setup, "untar"), l.load == "untar":
			name := filepath.Join(b.dir, "mount-source.tar")
			if _, err := os.Stat(name); err == nil {
				return name, nil
			}
			return name, command1(b.ctx, "tar", "-c", "--numeric-owner", "-f", name, "-C", s.tree, ".")
		}
		return "", nil
	}
}

// gitSource makes a repository of the tree's perl folder, or of all of it.
func (b *bench) gitSource(s mountScale) (string, error) {
	dir := filepath.Join(b.dir, "mount-source.git")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	from := "/usr/share/perl"
	if _, err := os.Stat(from); err != nil {
		from = s.tree
	}
	if err := command1(b.ctx, "cp", "-a", from, dir); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"},
		{"-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "all"}} {
		if err := command1(b.ctx, append([]string{"git", "-C", dir}, args...)...); err != nil {
			return "", err
		}
	}
	return dir, nil
}
