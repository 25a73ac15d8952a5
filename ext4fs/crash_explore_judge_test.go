package ext4fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// crashCount is how many states each judge has seen.
type crashCount struct {
	states, torn      atomic.Int64 // in all; with a write that arrived in part
	model             atomic.Int64 // recovered by e4kit and compared
	half              atomic.Int64 // of those, in the middle of an operation
	view              atomic.Int64 // read without recovering, and compared
	again             atomic.Int64 // recovered after a crash in the recovery
	checked, byE2fsck atomic.Int64 // recovered by e4kit, checked by e2fsck; recovered and checked by e2fsck
	byKernel          atomic.Int64
}

func (c *crashCount) add(o *crashCount) {
	for _, p := range [][2]*atomic.Int64{
		{&c.states, &o.states}, {&c.torn, &o.torn}, {&c.model, &o.model}, {&c.half, &o.half}, {&c.view, &o.view},
		{&c.again, &o.again}, {&c.checked, &o.checked}, {&c.byE2fsck, &o.byE2fsck}, {&c.byKernel, &o.byKernel},
	} {
		p[0].Add(p[1].Load())
	}
}

func (c *crashCount) String() string {
	return fmt.Sprintf("%d states (%d torn): %d recovered by e4kit and compared (%d inside of an operation, %d of them checked by e2fsck), "+
		"%d compared read-only, %d recovered twice, %d recovered by e2fsck, %d by the kernel",
		c.states.Load(), c.torn.Load(), c.model.Load(), c.half.Load(), c.checked.Load(), c.view.Load(), c.again.Load(),
		c.byE2fsck.Load(), c.byKernel.Load())
}

// crashJudge compares crash states with the history.
type crashJudge struct {
	w     *crashWorld
	kind  *crashKindCase
	at    map[*crashWorld]map[uint64]crashSpan // the operations after which it was so
	dump  []*testimages.Dumper
	rates crashRates
	count crashCount
}

// crashSpan is a row of operations, of which those after the first have changed
// nothing.
type crashSpan struct{ first, last int }

// spans finds moments.
func (w *crashWorld) spans() map[uint64]crashSpan {
	at := make(map[uint64]crashSpan)
	for k, m := range w.history {
		if m.inner {
			continue
		}
		span, known := at[m.sum]
		if span.last = k; !known {
			span.first = k
		}
		at[m.sum] = span
	}
	return at
}

// crashRates say that one in so many states is looked at by a judge.
type crashRates struct{ check, e2fsck, view, again, kernel int }

// newCrashJudge makes a judge with files in dir.
func newCrashJudge(t testing.TB, dir string, w *crashWorld, workers int, rates crashRates) *crashJudge {
	t.Helper()
	j := &crashJudge{w: w, kind: w.kind, at: make(map[*crashWorld]map[uint64]crashSpan), rates: rates}
	for _, w := range w.all() {
		j.at[w] = w.spans()
	}
	for n := range workers {
		d, err := testimages.NewDumper(filepath.Join(dir, fmt.Sprintf("crash%d", n)))
		if err != nil {
			t.Fatal(err)
		}
		j.dump = append(j.dump, d)
	}
	return j
}

// close lets go of what outlives the test.
func (j *crashJudge) close() {
	for _, d := range j.dump {
		if err := errors.Join(d.Close(), os.Remove(d.Path())); err != nil {
			j.w.t.Error(err)
		}
	}
}

// crashBounds are what the marks of a state say of a world.
type crashBounds struct{ began, durable int }

func boundsOf(marks []any, w *crashWorld) (b crashBounds) {
	for _, m := range marks {
		if m := m.(crashMark); m.w == w {
			b.began, b.durable = max(b.began, m.began), max(b.durable, m.durable)
		}
	}
	return b
}

// one reports whether the state is among the one in n for a judge.
func one(s *testimages.CrashState, salt uint64, n int) bool {
	if n <= 0 {
		return false
	}
	x := (uint64(s.ID.Pos)*0x9e3779b97f4a7c15 ^ s.ID.Subset ^ s.ID.Torn<<1 ^ salt*0xbf58476d1ce4e5b9) * 0x94d049bb133111eb
	return (x>>33)%uint64(n) == 0
}

// judge looks at one crash state.
func (j *crashJudge) judge(s *testimages.CrashState) error {
	j.count.states.Add(1)
	if s.Torn > 0 {
		j.count.torn.Add(1)
	}
	b := s.Marks
	spare := s.Dev.Clone()
	k, err := j.recover(s.Dev, b)
	if err != nil {
		return err
	}
	j.count.model.Add(1)
	if j.kind.external == 0 {
		if err := j.outside(s, spare, b, k); err != nil {
			return err
		}
	}
	if one(s, 1, j.rates.view) {
		f, err := j.kind.open(spare, nil, false)
		if err != nil {
			return fmt.Errorf("read-only: %w", err)
		}
		at, err := j.match(f, b)
		if err == nil && !slices.EqualFunc(at, k, crashPlace.recoversTo) {
			err = fmt.Errorf("as after operation %v, but recovered to %v", at, k)
		}
		if err != nil {
			return fmt.Errorf("read-only: %w", err)
		}
		j.count.view.Add(1)
	}
	if one(s, 2, j.rates.again) {
		return j.interrupted(s, spare, b, k)
	}
	return nil
}

// outside asks other programs.
func (j *crashJudge) outside(s *testimages.CrashState, spare *device.RAM, b []any, k []crashPlace) error {
	d := j.dump[s.Worker]
	if one(s, 3, j.rates.check) {
		if err := d.CheckClean(s.Dev); err != nil {
			return fmt.Errorf("after recovery by e4kit: %w", err)
		}
		j.count.checked.Add(1)
	}
	if !one(s, 4, j.rates.e2fsck) {
		return nil
	}
	if takes, err := j.takesAttrs(spare); takes || err != nil {
		return err
	}
	if err := j.preen(d, spare); err != nil {
		return err
	}
	if err := j.asRecovered(d, b, k); err != nil {
		return fmt.Errorf("after recovery by e2fsck: %w", err)
	}
	j.count.byE2fsck.Add(1)
	if j.kind.noKernel || !one(s, 6, j.rates.kernel) {
		return nil
	}
	err := d.Mount(spare, func(string) error { return nil })
	if err == nil {
		err = testimages.Check(d.Path())
	}
	if err == nil {
		err = j.asRecovered(d, b, k)
	}
	if err != nil {
		return fmt.Errorf("after recovery by the kernel: %w", err)
	}
	j.count.byKernel.Add(1)
	return nil
}

// takesAttrs reports whether e2fsck would spoil a file: where it truncates an
// orphan that keeps its name, 1.47.0 drops the attribute block as well, and still
// counts it. Linux does not.
func (j *crashJudge) takesAttrs(dev *device.RAM) (bool, error) {
	f, err := j.kind.open(dev, nil, false)
	if err != nil {
		return false, err
	}
	n := f.Super().LastOrphan
	for range f.Super().InodesCount {
		if n == 0 {
			break
		}
		i, err := f.Inode(n)
		if err != nil {
			return false, err
		}
		if r := i.record(); r.Links() > 0 && r.FileACL(true) != 0 {
			return true, nil
		}
		n = disk.InodeNum(i.record().DeletionTime())
	}
	return false, nil
}

// asRecovered compares what another program has recovered.
func (j *crashJudge) asRecovered(d *testimages.Dumper, b []any, k []crashPlace) error {
	dev, err := d.Load()
	if err != nil {
		return err
	}
	f, err := j.kind.open(dev, nil, false)
	if err != nil {
		return err
	}
	if at, err := j.match(f, b); err != nil || !slices.Equal(at, k) {
		return fmt.Errorf("as after operation %v, but e4kit recovers to %v: %w", at, k, err)
	}
	return nil
}

// preen has e2fsck recover the state and find nothing else.
func (j *crashJudge) preen(d *testimages.Dumper, dev *device.RAM) error {
	if !j.kind.orphanFile() {
		return d.Judge(dev)
	}
	// While such a file system is in use it has a feature that the copies of
	// the superblock lack, which has e2fsck check all of it in any case. What it
	// repairs then it says.
	if err := d.Dump(dev); err != nil {
		return err
	}
	out, err := exec.Command("e2fsck", "-p", d.Path()).CombinedOutput()
	if err != nil && exitStatus(err) != 1 {
		return fmt.Errorf("recovery by e2fsck: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if !slices.ContainsFunc(preenLines, func(s string) bool { return strings.Contains(line, s) }) {
			return fmt.Errorf("e2fsck did more than to recover: %s", out)
		}
	}
	return testimages.Check(d.Path())
}

// preenLines is what e2fsck says when it recovers, and of such a file system.
var preenLines = []string{
	": recovering journal", ": Clearing orphaned inode ", ": Truncating orphaned inode ", ": clean, ",
	" primary superblock features different from backup, check forced.",
	": Feature orphan_present is set but orphan file is clean.", "CLEARED.", "% non-contiguous), ",
	": Orphan file (inode ", // has block numbers of what e2fsck has just cleared
}

func exitStatus(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// recover recovers dev by e4kit and compares. It returns the operation after
// which it was so.
func (j *crashJudge) recover(dev device.Writer, b []any) ([]crashPlace, error) {
	f, err := j.kind.open(dev, nil, true)
	if err != nil {
		return nil, err
	}
	k, err := j.match(f, b)
	if err != nil {
		return k, err
	}
	return k, f.Close()
}

// interrupted cuts the power again during the recovery, and recovers from that.
func (j *crashJudge) interrupted(s *testimages.CrashState, dev *device.RAM, b []any, k []crashPlace) error {
	rec, err := testimages.NewRecorder(dev)
	if err != nil {
		return err
	}
	if _, err := j.recover(rec, b); err != nil {
		return err
	}
	log := rec.Log()
	o := testimages.CrashOptions{Subsets: 2, TornTails: 1, Seed: s.ID.Subset ^ uint64(s.ID.Pos), Workers: 1}
	if n := log.Writes() * 3; n > 12 {
		o.Rate = 12 / float64(n)
	}
	n, err := testimages.CrashStates(j.w.t.Context(), log, o, func(again *testimages.CrashState) error {
		at, err := j.recover(again.Dev, b)
		if err == nil && !slices.Equal(at, k) {
			err = fmt.Errorf("as after operation %v, but at first recovered to %v", at, k)
		}
		if err == nil && j.kind.external == 0 && one(again, 5, 4*j.rates.check) {
			err = j.dump[s.Worker].CheckClean(again.Dev)
			j.count.checked.Add(1)
		}
		return err
	})
	j.count.again.Add(int64(n))
	j.count.states.Add(int64(n))
	if err != nil {
		return fmt.Errorf("crash during recovery: %w", err)
	}
	return nil
}

// crashPlace is the operation after which a world was as it is, or which is half
// done. Where a later one may be that as well, for all that can be seen, last is
// the last of these.
type crashPlace struct {
	k, last int
	half    bool
}

// recoversTo reports whether what is at p before the orphans are dealt with can
// be at q then: an operation that is half done is completed or undone.
func (p crashPlace) recoversTo(q crashPlace) bool {
	return p == q || p.half && !q.half && p.k-1 <= q.k && q.k <= p.last
}

// match finds the operation of each world after which it was as it is in f.
func (j *crashJudge) match(f *FS, marks []any) ([]crashPlace, error) {
	var ks []crashPlace
	for _, w := range j.w.all() {
		k, err := j.matchOne(w, f, boundsOf(marks, w))
		if err != nil {
			return ks, err
		}
		ks = append(ks, k)
	}
	return ks, nil
}

func (j *crashJudge) matchOne(w *crashWorld, f *FS, b crashBounds) (crashPlace, error) {
	scan := newCrashScan(w.root)
	m, err := scan.moment(f)
	if err != nil {
		return crashPlace{}, err
	}
	span, known := j.at[w][m.sum]
	half, k, last := false, min(span.last, max(b.began, span.first)), 0
	if !known {
		if k, last, err = w.halfDone(f, m, b); err != nil {
			return crashPlace{}, err
		}
		half = true
		j.count.half.Add(1)
	}
	if k < b.durable {
		return crashPlace{k, last, half}, fmt.Errorf("as after operation %d; %d was durable: %s", k, b.durable, w.said(k, b.durable))
	}
	if k > b.began {
		return crashPlace{k, last, half}, fmt.Errorf("as after operation %d; only %d had begun", k, b.began)
	}
	for n, v := range m.change {
		if v.data == nil {
			continue
		}
		if err := w.matchContent(n, v, k, b.began, half); err != nil {
			return crashPlace{k, last, half}, fmt.Errorf("as after operation %d (durable %d, began %d), inode %d of %d bytes: %w", k, b.durable, b.began, n, v.size, err)
		}
	}
	return crashPlace{k, last, half}, nil
}

// halfDone finds the operation that was interrupted between two transactions:
// the last one of which there is a trace, or one after it. It may have one file
// half done. Those up to the durable one are whole.
func (w *crashWorld) halfDone(f *FS, m *crashMoment, b crashBounds) (first, last int, err error) {
	trace := int64(0)
	for n := range m.change {
		i, err := f.Inode(n)
		if err != nil {
			return 0, 0, err
		}
		trace = max(trace, int64(i.record().Ctime().Sub(crashEpoch)/time.Second))
	}
	k := sort.Search(len(w.history), func(k int) bool { return w.history[k].tick > trace }) - 1
	// The next one may have allocated something, which leaves no trace; what
	// failed in between changed nothing.
	for n := max(k, 0); n < len(w.history) && n <= b.began; n++ {
		if n > b.durable {
			half, err := w.isHalf(m, n)
			if err != nil && first == 0 {
				return 0, 0, err
			}
			if half && first == 0 {
				first = n
			}
			if half {
				last = n
			}
		}
		if n > k && len(w.history[n].change) > 0 {
			break
		}
	}
	if first == 0 {
		return 0, 0, w.unknown(f, m, k)
	}
	return first, last, nil
}

// isHalf reports whether operation k, and nothing else, is half done.
func (w *crashWorld) isHalf(m *crashMoment, k int) (bool, error) {
	if k < 1 || k >= len(w.history) || !w.history[k].wide || w.history[k].inner {
		return false, nil
	}
	for n, now := range w.history[k].change {
		v := m.change[n]
		before, _ := w.at(n, k-1, k-1)
		if v == nil || now == nil || before == nil || v.birth != before.birth {
			continue
		}
		if m.sum-v.line != w.history[k].sum-now.line {
			continue
		}
		if v.size < min(before.size, now.size) || v.size > max(before.size, now.size) {
			return false, fmt.Errorf("operation %d half done: inode %d has %d bytes, before %d, after %d", k, n, v.size, before.size, now.size)
		}
		return true, nil
	}
	return false, nil
}

// unknown says what is not as it ever was.
func (w *crashWorld) unknown(f *FS, m *crashMoment, k int) error {
	k = min(k, len(w.history)-1)
	var b strings.Builder
	fmt.Fprintf(&b, "as never before; the last trace is of operation %d: %s", k, w.said(k-2, k))
	for n, v := range m.change {
		want, _ := w.at(n, k, k)
		if want == nil || want.line != v.line {
			i, err := f.Inode(n)
			if err != nil {
				return err
			}
			text, _, _ := readCrashVersion(i, true)
			fmt.Fprintf(&b, "\ninode %d is %.400q; known to be so: %v", n, text.text, w.since(n, v))
		}
	}
	for n, list := range w.versions {
		if want, _ := w.at(n, k, k); want != nil && m.change[n] == nil {
			fmt.Fprintf(&b, "\ninode %d is missing, which came with operation %d", n, list[0].k)
		}
	}
	return errors.New(b.String())
}

// since lists the operations after which the inode was like that.
func (w *crashWorld) since(n disk.InodeNum, v *crashVersion) (ks []int) {
	for _, c := range w.versions[n] {
		if c.v != nil && c.v.line == v.line {
			ks = append(ks, c.k)
		}
	}
	return ks
}

func (w *crashWorld) said(from, to int) string {
	// ops[k-1] is operation k.
	from, to = max(from-1, 0), min(to, len(w.ops))
	return strings.Join(w.ops[min(from, to):to], "; ")
}

// matchContent compares a file with what it may hold after operation k, if the power
// failed in operation began. What was overwritten in its place since then may
// have arrived; nothing that was not written to that file may show.
func (w *crashWorld) matchContent(n disk.InodeNum, v *crashVersion, k, began int, half bool) error {
	from := k
	if half {
		from = k - 1
	}
	base, later := w.at(n, from, began)
	if base == nil {
		return errors.New("it was not there")
	}
	if bytes.Equal(v.data, base.data) {
		return nil
	}
	if w.kind.data == DataJournal && !half {
		return fmt.Errorf("content differs at %d although it was journaled", diffAt(v.data, base.data))
	}
	if bytes.IndexByte(v.data, stale) >= 0 {
		return fmt.Errorf("stale data at %d", bytes.IndexByte(v.data, stale))
	}
	versions := [][]byte{base.data}
	shift := false
	for _, c := range later {
		shift = shift || w.history[c.k].shift
		if c.v == nil {
			continue // it may live on without a name
		}
		if c.v.birth != base.birth {
			break
		}
		versions = append(versions, c.v.data)
	}
	if shift {
		return allWritten(v.data, versions)
	}
	for at := range v.data {
		if !occursAt(versions, at, v.data[at]) {
			return fmt.Errorf("byte %d is %#x, which it was in none of %d versions (at first %#x)", at, v.data[at], len(versions), byteAt(base.data, at))
		}
	}
	return nil
}

func diffAt(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func byteAt(p []byte, at int) byte {
	if at < len(p) {
		return p[at]
	}
	return 0
}

func occursAt(versions [][]byte, at int, b byte) bool {
	for _, p := range versions {
		if byteAt(p, at) == b {
			return true
		}
	}
	return false
}

// allWritten demands that the file was given every byte it has at some time,
// wherever.
func allWritten(got []byte, versions [][]byte) error {
	known := [256]bool{0: true}
	for _, p := range versions {
		for _, b := range p {
			known[b] = true
		}
	}
	for at, b := range got {
		if !known[b] {
			return fmt.Errorf("byte %d is %#x, which was never written", at, b)
		}
	}
	return nil
}
