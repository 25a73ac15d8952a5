package dir

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// twins are two directories to which the same happens: in one the changes begin
// where Find has been, in the other they look for the name themselves.
type twins struct {
	t          *testing.T
	spot, look *store
	used       int // spots that said something
}

func (w *twins) same(what string, a, b error) {
	w.t.Helper()
	if (a == nil) != (b == nil) || a != nil && a.Error() != b.Error() {
		w.t.Fatalf("%s: %v, and without a spot: %v", what, a, b)
	}
	if !slices.EqualFunc(w.spot.content(), w.look.content(), bytes.Equal) {
		w.t.Fatalf("%s: the blocks differ", what)
	}
}

func (w *twins) find(name string) (Spot, error) {
	w.t.Helper()
	e, s, err := w.spot.c.Find([]byte(name))
	f, ferr := w.spot.c.Lookup([]byte(name))
	if err == nil && (e.Inode != f.Inode || e.Block != f.Block || e.Offset != f.Offset) || (err == nil) != (ferr == nil) {
		w.t.Fatalf("Find(%q) = %+v, %v; Lookup %+v, %v", name, e, err, f, ferr)
	}
	if s.state != spotNone {
		w.used++
	}
	return s, err
}

func (w *twins) insert(s Spot, name string, ino disk.InodeNum) {
	w.t.Helper()
	a := w.spot.do(func() error { return w.spot.c.InsertAt(w.spot, s, []byte(name), ino, 1) })
	w.same("insert "+name, a, w.look.insert(name, ino, 1))
}

func (w *twins) remove(s Spot, name string) {
	w.t.Helper()
	var e Entry
	a := w.spot.do(func() (err error) {
		e, err = w.spot.c.RemoveAt(w.spot, s, []byte(name))
		return err
	})
	f, b := w.look.remove(name)
	w.same("remove "+name, a, b)
	if e.Inode != f.Inode || e.Type != f.Type || e.Offset != f.Offset || !bytes.Equal(e.Name, f.Name) {
		w.t.Fatalf("removed %+v, and without a spot %+v", e, f)
	}
}

func (w *twins) replace(s Spot, name string, ino disk.InodeNum) {
	w.t.Helper()
	change := func(m *store, do func() (Entry, error)) (e Entry, err error) {
		err = m.do(func() (err error) {
			e, err = do()
			return err
		})
		return e, err
	}
	e, a := change(w.spot, func() (Entry, error) { return w.spot.c.ReplaceAt(w.spot, s, []byte(name), ino, 3) })
	f, b := change(w.look, func() (Entry, error) { return w.look.c.Replace(w.look, []byte(name), ino, 3) })
	w.same("replace "+name, a, b)
	if e.Inode != f.Inode || e.Type != f.Type {
		w.t.Fatalf("replaced %+v, and without a spot %+v", e, f)
	}
}

// step changes one or two names, the latter as a rename does: both are looked
// for first.
func (w *twins) step(r *rand.Rand, m nameMaker) {
	w.t.Helper()
	one, two := m.next(), m.next()
	ino := disk.InodeNum(11 + r.IntN(1<<20))
	s, err := w.find(one)
	t, terr := w.find(two)
	switch {
	case r.IntN(4) > 0 && errors.Is(err, fs.ErrNotExist):
		w.insert(s, one, ino)
	case err == nil && errors.Is(terr, fs.ErrNotExist) && one != two:
		w.insert(t, two, ino)
		w.remove(s, one)
	case err == nil && terr == nil && one != two:
		w.replace(t, two, ino)
		w.remove(s, one)
	case err == nil:
		w.remove(s, one)
	default: // what a spot says must not mislead who does something else
		w.remove(s, one)
		w.insert(t, two, ino)
	}
}

func TestFind_changesTheSameBytes(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			w := &twins{t: t, spot: newStore(t, v.size), look: newStore(t, v.size)}
			for _, s := range []*store{w.spot, w.look} {
				v.set(s)
				s.caches()
				s.init(2)
			}
			r := rand.New(rand.NewPCG(7, 7))
			steps := v.steps
			if testing.Short() {
				steps /= 5
			}
			for i := range steps {
				w.step(r, nameMaker{r})
				if i%200 == 199 {
					w.spot.commit()
					w.look.commit()
				}
			}
			if v.size < 65536 && !w.spot.c.Casefold && w.used < steps/2 {
				t.Errorf("only %d spots of %d steps", w.used, steps)
			}
		})
	}
}

// What a spot knows may be untrue when it is used.
func TestFind_othersCameBetween(t *testing.T) {
	s := newStore(t, 1024)
	s.init(2)
	for _, name := range []string{"before", "name", "behind"} {
		if err := s.insert(name, 20, 1); err != nil {
			t.Fatal(err)
		}
	}
	_, at, err := s.c.Find([]byte("name"))
	_, room, nerr := s.c.Find([]byte("new"))
	if err != nil || nerr != fs.ErrNotExist || at.state != spotEntry || room.state != spotRoom {
		t.Fatal(at, err, room, nerr)
	}
	// The record before it goes, then all the room.
	if _, err := s.remove("before"); err != nil {
		t.Fatal(err)
	}
	if e, err := s.c.RemoveAt(s, at, []byte("name")); err != nil || e.Inode != 20 {
		t.Fatal(e, err)
	}
	for name := 'a'; room.shape == s.c.shape; name++ {
		if err := s.insert(string(name)+"-takes-room", 21, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.c.InsertAt(s, room, []byte("new"), 22, 1); err != nil {
		t.Fatal(err)
	}
	// Gone is gone, and there is there, whatever the spot says.
	if _, err := s.c.RemoveAt(s, at, []byte("name")); err != fs.ErrNotExist {
		t.Error(err)
	}
	if err := s.c.InsertAt(s, Spot{}, []byte("new"), 22, 1); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if e, err := s.c.Lookup([]byte("new")); err != nil || e.Inode != 22 {
		t.Error(e, err)
	}
}
