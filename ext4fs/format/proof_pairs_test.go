package format_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// factor is an option of making a file system with the values to try. The
// first value is the default.
type factor struct {
	name   string
	values []string
}

// row is one combination: a value for each factor, by the factor's index; -1
// is not chosen yet.
type row []int

// pairs makes rows in which every two values of different factors meet at
// least once, as far as the rules allow. allowed judges rows that are not
// complete too, and must then say no only for what no choice can mend.
type pairs struct {
	factors []factor
	allowed func(p *pairs, r row) bool
	mixed   bool // the first values are no defaults
}

// rows returns the first row with the defaults and then what it takes. The
// same factors give the same rows.
func (p *pairs) rows() []row {
	first := make(row, len(p.factors))
	todo := p.all()
	cover(todo, first)
	rows := []row{first}
	for len(todo) > 0 {
		r := p.empty()
		next := firstOf(todo)
		r[next.a], r[next.b] = next.x, next.y
		if !p.allowed(p, r) || !p.fill(r, todo) {
			delete(todo, next) // no row can hold both
			continue
		}
		cover(todo, r)
		rows = append(rows, r)
	}
	return rows
}

func (p *pairs) empty() row {
	r := make(row, len(p.factors))
	for i := range r {
		r[i] = -1
	}
	return r
}

// pair is value x of factor a with value y of factor b; a < b.
type pair struct{ a, x, b, y int }

func (p *pairs) all() map[pair]bool {
	todo := map[pair]bool{}
	for a := range p.factors {
		for b := a + 1; b < len(p.factors); b++ {
			for x := range p.factors[a].values {
				for y := range p.factors[b].values {
					todo[pair{a, x, b, y}] = true
				}
			}
		}
	}
	return todo
}

func cover(todo map[pair]bool, r row) {
	for a := range r {
		for b := a + 1; b < len(r); b++ {
			delete(todo, pair{a, r[a], b, r[b]})
		}
	}
}

func firstOf(todo map[pair]bool) pair {
	var best *pair
	for q := range todo {
		if best == nil || slices.Compare([]int{q.a, q.b, q.x, q.y}, []int{best.a, best.b, best.x, best.y}) < 0 {
			best = &q
		}
	}
	return *best
}

// fill chooses the rest of a row, what covers most first, and goes back where
// the rules leave nothing.
func (p *pairs) fill(r row, todo map[pair]bool) bool {
	i := slices.Index(r, -1)
	if i < 0 {
		return true
	}
	order := make([]int, len(p.factors[i].values))
	gains := make([]int, len(order))
	for v := range order {
		order[v] = v
		gains[v] = gain(todo, r, i, v)
	}
	slices.SortStableFunc(order, func(v, w int) int { return gains[w] - gains[v] })
	for _, v := range order {
		r[i] = v
		if p.allowed(p, r) && p.fill(r, todo) {
			return true
		}
	}
	r[i] = -1
	return false
}

// gain is how many pairs value v of factor i would cover.
func gain(todo map[pair]bool, r row, i, v int) int {
	n := 0
	for k, w := range r {
		switch {
		case w < 0 || k == i:
		case k < i && todo[pair{k, w, i, v}], k > i && todo[pair{i, v, k, w}]:
			n++
		}
	}
	return n
}

// value is what the row has for the factor, "" if that is not chosen yet.
func (p *pairs) value(r row, name string) string {
	i := slices.IndexFunc(p.factors, func(f factor) bool { return f.name == name })
	if i < 0 {
		panic("no factor " + name)
	}
	if r[i] < 0 {
		return ""
	}
	return p.factors[i].values[r[i]]
}

// shuffled has the same factors in another order, which makes other rows.
func (p *pairs) shuffled(seed uint64) *pairs {
	rng := rand.New(rand.NewPCG(seed, 0))
	q := &pairs{factors: slices.Clone(p.factors), allowed: p.allowed, mixed: true}
	for i := range q.factors {
		v := slices.Clone(q.factors[i].values)
		rng.Shuffle(len(v), func(a, b int) { v[a], v[b] = v[b], v[a] })
		q.factors[i].values = v
	}
	rng.Shuffle(len(q.factors), func(a, b int) { q.factors[a], q.factors[b] = q.factors[b], q.factors[a] })
	return q
}

// text names what differs from the defaults.
func (p *pairs) text(r row) string {
	var list []string
	for i, v := range r {
		if v > 0 || p.mixed {
			list = append(list, p.factors[i].name+"="+p.factors[i].values[v])
		}
	}
	if len(list) == 0 {
		return "defaults"
	}
	return strings.Join(list, ",")
}

func TestPairs(t *testing.T) {
	p := &pairs{}
	for i := range 8 {
		f := factor{name: fmt.Sprint(i)}
		for v := range 2 + i%3 {
			f.values = append(f.values, fmt.Sprint(v))
		}
		p.factors = append(p.factors, f)
	}
	p.allowed = func(p *pairs, r row) bool { return p.value(r, "0") != "1" || p.value(r, "1") != "2" } // never both
	for _, p := range []*pairs{p, p.shuffled(1)} {
		rows := p.rows()
		if len(rows) > 25 { // 16 are the least, for two factors of four values
			t.Errorf("%d rows", len(rows))
		}
		coversAll(t, p, rows)
	}
}

func coversAll(t *testing.T, p *pairs, rows []row) {
	t.Helper()
	todo := p.all()
	for _, r := range rows {
		if slices.Contains(r, -1) || !p.allowed(p, r) {
			t.Errorf("row %v", r)
		}
		cover(todo, r)
	}
	if len(todo) != 1 {
		t.Errorf("not covered: %v", todo)
	}
}
