package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/e4kit/e4kit/testimages"
)

// place is where one run of a side finds and puts things.
type place struct {
	img  string
	mnt  string // for the kernel
	dest string // a fresh folder
	out  string // a file for what is printed
	aux  string // made by job.prepare
}

// side is one of those that are compared.
type side struct {
	name     string
	commands func(b *bench, p place) []command
	// run does and measures it where commands cannot say it.
	run func(b *bench, p place) (cost, error)
	// facts are numbers taken from the run's result that all sides must agree
	// on. checks is false for a peer that is known to do less.
	facts  func(p place) (string, error)
	checks bool
}

// job is one row of the table.
type job struct {
	name, what string
	workload   string
	goal       float64
	cold       bool // the image is not in the page cache
	quick      bool // takes well under a second: more rounds
	instant    bool // takes milliseconds: many rounds, of which the medians are compared
	peer, ours side
	others     []side // measured too, without a goal
	prepare    func(b *bench, img string) (aux string, err error)
	// target, of a job that writes, makes the image p.img anew before every
	// run; there is no workload then.
	target func(b *bench, p place) error
	// onTmpfs has the target beside the sources and not on the disk. onDisk is
	// for a job whose sources are on the disk too.
	onTmpfs, onDisk bool
	drop            []string // sources in the bench's folder to remove afterwards
	memory          int64    // what e4kit may take; 0 is memoryBound
	// figures tells of what a side made, once, beside its costs.
	figures func(b *bench, p place, s side) (figures, error)
	told    map[string]figures
	// same compares the results of the peer and of e4kit in depth, once.
	same func(peer, ours place) error
	// want are the facts that the peer gave while warming up.
	want string
}

func (j *job) sides() []side { return append([]side{j.peer, j.ours}, j.others...) }

// jobs runs jobs one after the other. A job that fails says so in its result;
// only the end of the context ends all.
func (b *bench) jobs(list []*job) ([]*result, error) {
	var results []*result
	for i, j := range list {
		r, err := b.job(j)
		err = errors.Join(err, b.dropSources(j, list[i+1:]))
		if cerr := b.ctx.Err(); cerr != nil {
			return results, errors.Join(cerr, b.unmount())
		}
		if err != nil {
			b.say("%s: %v", j.name, err)
			r.Error = err.Error()
		}
		results = append(results, r)
	}
	return results, nil
}

func (b *bench) job(j *job) (*result, error) {
	r := newResult(j)
	img := ""
	var err error
	if j.target == nil {
		if img, err = b.image(j.workload); err != nil {
			return r, err
		}
	}
	aux := ""
	if j.prepare != nil {
		if aux, err = j.prepare(b, img); err != nil {
			return r, err
		}
	}
	if img != "" {
		if err := testimages.Warm(img); err != nil {
			return r, err
		}
	}
	sides := j.sides()
	b.say("%s: warm up", j.name)
	if err := b.warmUp(j, sides, img, aux); err != nil {
		return r, err
	}
	r.tell(j.told)
	rounds := b.rounds
	switch {
	case j.instant:
		rounds *= 7
	case j.quick:
		rounds *= 3
	}
	for round := range rounds {
		order := slices.Clone(sides)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		costs := map[string]cost{}
		for _, s := range order {
			c, _, err := b.once(j, s, b.place(s.name, img, aux), true)
			if err != nil {
				return r, err
			}
			costs[s.name] = c
		}
		r.add(costs)
		b.say("%s: round %d of %d: %s", j.name, round+1, rounds, r.lastRound())
	}
	return r, nil
}

func (b *bench) place(side, img, aux string) place {
	dest := filepath.Join(b.dir, "to", side)
	return place{img: img, mnt: b.mnt, dest: dest, out: dest + ".out", aux: aux}
}

// warmUp runs every side once and compares what they made.
func (b *bench) warmUp(j *job, sides []side, img, aux string) error {
	var want string
	defer os.RemoveAll(filepath.Join(b.dir, "to"))
	for i, s := range sides {
		p := b.place(s.name, img, aux)
		_, facts, err := b.once(j, s, p, false)
		if err != nil {
			return err
		}
		switch {
		case i == 0:
			want = facts
			b.say("%s: %s", j.name, facts)
		case facts != want && s.checks:
			return fmt.Errorf("%s has %s, but %s has %s", s.name, facts, sides[0].name, want)
		case facts != want:
			b.say("%s: %s has %s", j.name, s.name, facts)
		}
		if i == 1 && j.same != nil {
			if err := j.same(b.place(sides[0].name, img, aux), p); err != nil {
				return err
			}
		}
	}
	j.want = want
	return nil
}

// once runs a side once. With discard, its result is compared with the facts
// from the warming up, and removed.
func (b *bench) once(j *job, s side, p place, discard bool) (cost, string, error) {
	if err := errors.Join(os.RemoveAll(p.dest), os.MkdirAll(p.dest, 0o755)); err != nil {
		return cost{}, "", err
	}
	if j.target != nil {
		var err error
		if p.img, err = b.targetOf(j, s.name); err != nil {
			return cost{}, "", err
		}
		defer os.Remove(p.img)
		if err := j.target(b, p); err != nil {
			return cost{}, "", err
		}
	}
	if err := b.settle(p.img); err != nil {
		return cost{}, "", err
	}
	if j.cold {
		if err := testimages.Evict(p.img); err != nil {
			return cost{}, "", err
		}
	}
	c, err := b.side(s, p)
	if err != nil {
		return c, "", err
	}
	facts, err := s.facts(p)
	if err != nil {
		return c, "", err
	}
	if !discard && j.figures != nil {
		if err := b.figuresOf(j, s, p); err != nil {
			return c, facts, err
		}
	}
	if discard {
		if s.checks && facts != j.want {
			return c, facts, fmt.Errorf("%s has %s this time, not %s", s.name, facts, j.want)
		}
		err = errors.Join(os.RemoveAll(p.dest), os.RemoveAll(p.out))
	}
	return c, facts, err
}

// side does what a side does.
func (b *bench) side(s side, p place) (cost, error) {
	if s.run == nil {
		return b.measureAll(s.commands(b, p))
	}
	c, err := s.run(b, p)
	if err != nil {
		err = errors.Join(err, b.unmount())
	}
	return c, err
}

// figuresOf notes the figures of what a side made.
func (b *bench) figuresOf(j *job, s side, p place) error {
	f, err := j.figures(b, p, s)
	if err != nil {
		return err
	}
	if j.told == nil {
		j.told = map[string]figures{}
	}
	j.told[s.name] = f
	b.say("%s: %s: %s", j.name, s.name, f)
	return nil
}

// measureAll runs commands in order and adds up what they took. After one that
// fails only those that clean up run.
func (b *bench) measureAll(list []command) (cost, error) {
	var sum cost
	var failed error
	for _, c := range list {
		if failed != nil && !c.always {
			continue
		}
		took, err := measure(b.ctx, c)
		sum.add(took)
		if failed == nil {
			failed = err
		}
	}
	if failed != nil {
		failed = errors.Join(failed, b.unmount())
	}
	return sum, failed
}

// seconds shows a time for the table.
func seconds(d time.Duration) string {
	s := d.Seconds()
	if s < 1 {
		return fmt.Sprintf("%.3f", s)
	}
	return fmt.Sprintf("%.2f", s)
}
