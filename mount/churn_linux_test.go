package mount

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

var churnOps = flag.Int("churn", 24000, "requests of TestChurn, which shows leaks the better the more they are")

// churnWorkers is how many users of a churned mount there are.
const churnWorkers = 4

// Nothing is left of files that came and went: not in memory, and not in the
// image. The kernel is played here, that is fast enough for millions of requests.
func TestChurn(t *testing.T) {
	d := serveDirect(t, Options{})
	before, err := d.fsys.Space()
	if err != nil {
		t.Fatal(err)
	}
	c := newChurn(d)
	c.run(*churnOps / 4)
	warm := takeMeasure(d)
	c.run(*churnOps - *churnOps/4)
	c.done()
	end := takeMeasure(d)
	t.Logf("after %d requests: %v; after %d: %v", *churnOps/4, warm, *churnOps, end)
	const slack = 2 << 20
	if end.heap > warm.heap+slack || end.goroutines > warm.goroutines || end.files > warm.files {
		t.Errorf("it grows: %v and then %v", warm, end)
	}
	if nodes, files := d.Census(); nodes != 1 || files != 0 || len(d.nodes.all()) != 0 {
		t.Errorf("%d nodes, %d open files, %d in the table", nodes, files, len(d.nodes.all()))
	}
	if err := d.fsys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Blocks that a directory has taken stay with it: the shared one is gone.
	if after, err := d.fsys.Space(); err != nil || after != before {
		t.Errorf("space before %+v, after %+v, %v", before, after, err)
	}
}

// measure is what can leak.
type measure struct {
	heap, cache       int64 // bytes; heap does not count cache, which has a bound
	goroutines, files int
	resident          string
}

func takeMeasure(d *direct) measure {
	for range 3 {
		runtime.GC() // what a collection finds can set other things free
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, _ := os.ReadDir("/proc/self/fd")
	at := measure{cache: d.fsys.CacheStats().Bytes, goroutines: runtime.NumGoroutine(), files: len(fds)}
	at.heap = int64(m.HeapAlloc) - at.cache
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			at.resident = strings.Join(strings.Fields(line)[1:], " ")
		}
	}
	return at
}

func (m measure) String() string {
	return fmt.Sprintf("heap %d KiB beside %d KiB of cache, %d goroutines, %d descriptors, at most %s resident",
		m.heap>>10, m.cache>>10, m.goroutines, m.files, m.resident)
}

// churn is several users of a mount, each with a directory of his own, and one
// that all change.
type churn struct {
	d      *direct
	lock   sync.RWMutex // of the shared directory, as the kernel takes it
	shared uint64
	users  []*churner
}

func newChurn(d *direct) *churn {
	c := &churn{d: d, shared: d.mkdir(1, "shared")}
	for k := range churnWorkers {
		u := &churner{direct: d, c: c, rng: rand.New(rand.NewPCG(7, uint64(k)))}
		u.dirs = []*churned{{id: d.mkdir(1, fmt.Sprint("own", k)), lookups: 1, dir: true}}
		c.users = append(c.users, u)
	}
	return c
}

func (c *churn) run(ops int) {
	var wg sync.WaitGroup
	for _, u := range c.users {
		wg.Go(func() {
			for range ops / len(c.users) {
				u.step()
			}
		})
	}
	wg.Wait()
}

// done removes everything, and has the kernel forget it.
func (c *churn) done() {
	root := on(1, 0)
	for k, u := range c.users {
		for len(u.open) > 0 {
			u.closeOne()
		}
		for len(u.dirs) > 0 {
			dir := u.dirs[len(u.dirs)-1]
			for len(dir.names) > 0 {
				u.drop(dir, len(dir.names)-1)
			}
			u.dirs = u.dirs[:len(u.dirs)-1]
			if dir.parent == nil {
				c.d.is(c.d.Rmdir(nil, &root, fmt.Sprint("own", k)), 0, "rmdir")
				u.forget(dir)
			}
		}
	}
	for k := range sharedNames {
		h := on(c.shared, 0)
		c.d.Unlink(nil, &h, fmt.Sprint("s", k))
	}
	c.d.is(c.d.Rmdir(nil, &root, "shared"), 0, "rmdir")
	c.d.Forget(c.shared, 1)
}

// churner is one of the users. It knows what the kernel knows.
type churner struct {
	*direct
	c    *churn
	rng  *rand.Rand
	dirs []*churned // the first is the top one; each has its parent before it
	open []churnedFile
	made int
}

// churned is an inode.
type churned struct {
	id      uint64
	lookups uint64 // 0: the kernel has forgotten it
	links   int
	opens   int
	dir     bool
	file    bool // a regular one
	parent  *churned
	names   []churnedName // of a directory
}

type churnedName struct {
	name string
	to   *churned
}

// churnedFile is an open file.
type churnedFile struct {
	*churned
	fh uint64
}

// churnSteps are what users do.
var churnSteps = []func(u *churner){
	(*churner).create, (*churner).create, (*churner).create, (*churner).makeOther, (*churner).makeDir, (*churner).temporary,
	(*churner).openOne, (*churner).closeOne, (*churner).closeOne, (*churner).closeOne,
	(*churner).writeOne, (*churner).writeOne, (*churner).readOne, (*churner).readOne, (*churner).resize, (*churner).reserve,
	(*churner).rename, (*churner).rename, (*churner).link, (*churner).unlink, (*churner).unlink, (*churner).unlink, (*churner).removeDir,
	(*churner).xattrs, (*churner).list, (*churner).look, (*churner).look, (*churner).forgetOne, (*churner).missing, (*churner).others,
	(*churner).sharedChange, (*churner).sharedList,
}

func (u *churner) step() { churnSteps[u.rng.IntN(len(churnSteps))](u) }

func (u *churner) name() string {
	u.made++
	if u.made%50 == 0 {
		return fmt.Sprintf("%0200d", u.made)
	}
	return fmt.Sprint("n", u.made)
}

func (u *churner) someDir() *churned { return u.known(u.dirs[u.rng.IntN(len(u.dirs))]) }

// some is a name in some directory, which may have none: to is nil then.
func (u *churner) some() (dir *churned, k int, to *churned) {
	dir = u.someDir()
	if len(dir.names) == 0 {
		return dir, 0, nil
	}
	k = u.rng.IntN(len(dir.names))
	return dir, k, u.known(dir.names[k].to)
}

// someFile is some regular file, or nil.
func (u *churner) someFile() *churned {
	if len(u.open) > 0 && u.rng.IntN(2) == 0 {
		return u.open[u.rng.IntN(len(u.open))].churned
	}
	if _, _, n := u.some(); n != nil && n.file {
		return n
	}
	return nil
}

// known has the kernel look an inode up that it has forgotten.
func (u *churner) known(n *churned) *churned {
	if n.lookups > 0 {
		return n
	}
	for _, dir := range u.dirs {
		for _, e := range dir.names {
			if e.to == n {
				out, s := u.lookup(u.known(dir).id, e.name)
				u.is(s, 0, "lookup of %s", e.name)
				if out.NodeId != n.id {
					u.t.Errorf("%s is node %d, was %d", e.name, out.NodeId, n.id)
				}
				n.lookups++
				return n
			}
		}
	}
	u.t.Errorf("node %d has no name", n.id)
	return n
}

// forget has the kernel forget an inode.
func (u *churner) forget(n *churned) {
	if n.lookups > 0 {
		u.Forget(n.id, n.lookups)
		n.lookups = 0
	}
}

// enter notes a new name.
func (u *churner) enter(dir *churned, name string, n *churned) *churned {
	n.links++
	dir.names = append(dir.names, churnedName{name, n})
	return n
}

// leave notes that a name is gone, and forgets what nobody has any more.
func (u *churner) leave(dir *churned, k int) {
	n := dir.names[k].to
	dir.names = append(dir.names[:k], dir.names[k+1:]...)
	n.links--
	if n.links == 0 && n.opens == 0 {
		u.forget(n)
	}
}

// drop removes a name.
func (u *churner) drop(dir *churned, k int) {
	h := on(u.known(dir).id, 0)
	e := dir.names[k]
	if e.to.dir {
		u.is(u.Rmdir(nil, &h, e.name), 0, "rmdir %s", e.name)
	} else {
		u.is(u.Unlink(nil, &h, e.name), 0, "unlink %s", e.name)
	}
	u.leave(dir, k)
}

const (
	churnNames = 30 // in a directory
	churnDirs  = 8
	churnOpen  = 16
)

func (u *churner) create() {
	dir := u.someDir()
	if len(dir.names) >= churnNames || len(u.open) >= churnOpen {
		return
	}
	name := u.name()
	in := fuse.CreateIn{InHeader: on(dir.id, 1000), Mode: 0o644, Flags: syscall.O_RDWR}
	var out fuse.CreateOut
	u.is(u.Create(nil, &in, name, &out), 0, "create")
	n := u.enter(dir, name, &churned{id: out.NodeId, lookups: 1, opens: 1, file: true})
	u.open = append(u.open, churnedFile{n, out.Fh})
}

func (u *churner) makeOther() {
	dir := u.someDir()
	if len(dir.names) >= churnNames {
		return
	}
	name := u.name()
	var out fuse.EntryOut
	h := on(dir.id, 0)
	if u.rng.IntN(3) == 0 {
		in := fuse.MknodIn{InHeader: h, Mode: uint32([]uint16{disk.ModeFIFO, disk.ModeSocket, disk.ModeChar}[u.rng.IntN(3)]) | 0o600, Rdev: 0x105}
		u.is(u.Mknod(nil, &in, name, &out), 0, "mknod")
	} else {
		target := strings.Repeat("t", 1+u.rng.IntN(100))
		u.is(u.Symlink(nil, &h, target, name, &out), 0, "symlink")
		h.NodeId = out.NodeId
		if got, s := u.Readlink(nil, &h); s != fuse.OK || string(got) != target {
			u.t.Errorf("readlink: %q, %v", got, s)
		}
	}
	u.enter(dir, name, &churned{id: out.NodeId, lookups: 1})
}

func (u *churner) makeDir() {
	parent := u.someDir()
	if len(u.dirs) >= churnDirs || len(parent.names) >= churnNames {
		return
	}
	name := u.name()
	u.dirs = append(u.dirs, u.enter(parent, name, &churned{id: u.mkdir(parent.id, name), lookups: 1, dir: true, parent: parent}))
}

func (u *churner) removeDir() {
	k := len(u.dirs) - 1
	dir := u.dirs[k]
	if k == 0 {
		return
	}
	for i, e := range dir.parent.names {
		if e.to == dir {
			h := on(u.known(dir.parent).id, 0)
			if len(dir.names) > 0 {
				u.is(u.Rmdir(nil, &h, e.name), syscall.ENOTEMPTY, "rmdir")
			}
			for len(dir.names) > 0 {
				u.drop(dir, 0)
			}
			u.drop(dir.parent, i)
			u.dirs = u.dirs[:k]
			return
		}
	}
}

// temporary makes a file without a name, which may get one.
func (u *churner) temporary() {
	dir := u.someDir()
	if len(u.open) >= churnOpen || len(dir.names) >= churnNames {
		return
	}
	var out fuse.CreateOut
	in := fuse.CreateIn{InHeader: on(dir.id, 0), Mode: 0o600, Flags: syscall.O_RDWR}
	u.is(u.Tmpfile(nil, &in, &out), 0, "tmpfile")
	n := &churned{id: out.NodeId, lookups: 1, opens: 1, file: true}
	u.open = append(u.open, churnedFile{n, out.Fh})
	if u.rng.IntN(2) == 0 {
		u.linkTo(dir, n)
	}
}

func (u *churner) linkTo(dir, n *churned) {
	name := u.name()
	var out fuse.EntryOut
	u.is(u.Link(nil, &fuse.LinkIn{InHeader: on(dir.id, 0), Oldnodeid: n.id}, name, &out), 0, "link")
	n.lookups++
	u.enter(dir, name, n)
}

func (u *churner) link() {
	dir := u.someDir()
	if _, _, n := u.some(); n != nil && !n.dir && len(dir.names) < churnNames {
		u.linkTo(dir, n)
	}
}

func (u *churner) openOne() {
	n := u.someFile()
	if n == nil || len(u.open) >= churnOpen {
		return
	}
	var out fuse.OpenOut
	u.is(u.Open(nil, &fuse.OpenIn{InHeader: on(n.id, uint32(u.rng.IntN(2))), Flags: syscall.O_RDWR}, &out), 0, "open")
	n.opens++
	u.open = append(u.open, churnedFile{n, out.Fh})
}

func (u *churner) closeOne() {
	if len(u.open) == 0 {
		return
	}
	k := u.rng.IntN(len(u.open))
	n := u.open[k]
	u.open = append(u.open[:k], u.open[k+1:]...)
	u.Release(nil, &fuse.ReleaseIn{InHeader: on(n.id, 0), Flags: syscall.O_RDWR, Fh: n.fh})
	n.opens--
	if n.links == 0 && n.opens == 0 {
		u.forget(n.churned)
	}
}

func (u *churner) unlink() {
	if dir, k, n := u.some(); n != nil && !n.dir {
		u.drop(dir, k)
	}
}

// rename moves a file, perhaps over another.
func (u *churner) rename() {
	from, k, n := u.some()
	if n == nil || n.dir {
		return
	}
	to, at, over := u.some()
	in := fuse.RenameIn{InHeader: on(from.id, 0), Newdir: to.id}
	old := from.names[k].name
	switch {
	case over == nil || over.dir || over == n:
		if len(to.names) >= churnNames {
			return
		}
		name := u.name()
		u.is(u.Rename(nil, &in, old, name), 0, "rename")
		u.enter(to, name, n)
		u.leave(from, k)
	case u.rng.IntN(3) == 0:
		in.Flags = 2
		u.is(u.Rename(nil, &in, old, to.names[at].name), 0, "exchange")
		from.names[k].to, to.names[at].to = over, n
	default:
		name := to.names[at].name
		u.is(u.Rename(nil, &in, old, name), 0, "rename over %s", name)
		to.names[at].to = n
		n.links++
		if over.links--; over.links == 0 && over.opens == 0 {
			u.forget(over)
		}
		u.leave(from, k)
	}
}
