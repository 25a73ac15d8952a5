package dump

import (
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ExtentStats sums up the extents of many files.
type ExtentStats struct {
	Files     uint64 // all inodes seen
	Mapped    uint64 // those with blocks
	Inline    uint64 // those with inline data
	Extents   uint64
	Blocks    uint64
	Unwritten uint64
	Pieces    uint64 // of the mapped files
	Bad       uint64 // files with an error
	classes   [64]uint64
	worst     []WorstFile // at most maxWorst, sorted
}

// maxWorst is how many of the worst files are named.
const maxWorst = 10

// WorstFile is one of the files in the most fragments.
type WorstFile struct {
	Inode uint32 `json:"inode"`
	Path  string `json:"path,omitempty"`
	Fragments
	Ideal uint64 `json:"ideal"`
}

// Add counts a file.
func (s *ExtentStats) Add(f *File) {
	if f.Err != nil {
		s.Bad++
	}
	if f.Inode == 0 {
		return
	}
	s.Files++
	var frag Fragments
	for _, e := range f.Extents {
		if e.Flags == 0 || e.Flags == 1 { // written or not
			frag.Add(e)
		} else {
			s.Inline++
		}
	}
	s.classes[bits.Len64(max(frag.Extents, 1)-1)+boolInt(frag.Extents > 0)]++
	if frag.Extents == 0 {
		return
	}
	s.Mapped++
	s.Extents += frag.Extents
	s.Blocks += frag.Blocks
	s.Unwritten += frag.Unwritten
	s.Pieces += frag.Pieces
	if frag.Pieces > 1 {
		s.worse(WorstFile{Inode: uint32(f.Inode), Fragments: frag})
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// worse keeps w if it is among the worst.
func (s *ExtentStats) worse(w WorstFile) {
	if len(s.worst) == maxWorst && s.worst[maxWorst-1].Pieces >= w.Pieces {
		return
	}
	at, _ := slices.BinarySearchFunc(s.worst, w, func(a, b WorstFile) int {
		return cmp.Or(-cmp.Compare(a.Pieces, b.Pieces), cmp.Compare(a.Inode, b.Inode))
	})
	s.worst = slices.Insert(s.worst, at, w)
	s.worst = s.worst[:min(len(s.worst), maxWorst)]
}

// Merge adds the counts of t.
func (s *ExtentStats) Merge(t *ExtentStats) {
	s.Files += t.Files
	s.Mapped += t.Mapped
	s.Inline += t.Inline
	s.Extents += t.Extents
	s.Blocks += t.Blocks
	s.Unwritten += t.Unwritten
	s.Pieces += t.Pieces
	s.Bad += t.Bad
	for i, n := range t.classes {
		s.classes[i] += n
	}
	for _, w := range t.worst {
		s.worse(w)
	}
}

// Worst are the numbers of the files in the most fragments.
func (s *ExtentStats) Worst() map[disk.InodeNum]bool {
	set := map[disk.InodeNum]bool{}
	for _, w := range s.worst {
		set[disk.InodeNum(w.Inode)] = true
	}
	return set
}

// ExtentSummary is what there is to say of the extents of all files.
type ExtentSummary struct {
	Type      string        `json:"type"`
	Files     uint64        `json:"files" text:"Files"`
	Mapped    uint64        `json:"files_with_blocks" text:"Files with blocks"`
	Inline    uint64        `json:"files_inline" text:"Files with inline data"`
	Extents   uint64        `json:"extents" text:"Extents"`
	Blocks    uint64        `json:"blocks" text:"Mapped blocks"`
	Unwritten uint64        `json:"unwritten_blocks" text:"Unwritten blocks"`
	Fragments uint64        `json:"fragments" text:"Fragments"`
	Average   float64       `json:"extents_per_file" text:"Extents per file"`
	Bad       uint64        `json:"damaged" text:"Files with damage"`
	Histogram []ExtentClass `json:"histogram"`
	Worst     []WorstFile   `json:"worst"`
}

// ExtentClass is the files with From to To extents.
type ExtentClass struct {
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Files uint64 `json:"files"`
}

// Summary makes the closing summary; paths may be nil.
func (im *Image) Summary(s *ExtentStats, paths *Paths) *ExtentSummary {
	v := &ExtentSummary{
		Type: "summary", Files: s.Files, Mapped: s.Mapped, Inline: s.Inline, Extents: s.Extents, Blocks: s.Blocks,
		Unwritten: s.Unwritten, Fragments: s.Pieces, Bad: s.Bad, Histogram: []ExtentClass{}, Worst: []WorstFile{},
	}
	if s.Mapped > 0 {
		v.Average = float64(s.Extents*100/s.Mapped) / 100
	}
	for i, n := range s.classes {
		if n == 0 {
			continue
		}
		c := ExtentClass{Files: n}
		switch {
		case i == 1:
			c.From, c.To = 1, 1
		case i > 1:
			c.From, c.To = 1<<(i-2)+1, 1<<(i-1)
		}
		v.Histogram = append(v.Histogram, c)
	}
	longest := im.LongestRun()
	for _, w := range s.worst {
		w.Ideal = Ideal(w.Blocks, longest)
		if paths != nil {
			w.Path = validText([]byte(paths.Of(disk.InodeNum(w.Inode))))
		}
		v.Worst = append(v.Worst, w)
	}
	return v
}

// WriteText writes the sums, the histogram and the worst files.
func (v *ExtentSummary) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		if len(v.Histogram) > 0 {
			rows := [][]string{{"extents", "files"}}
			for _, c := range v.Histogram {
				rows = append(rows, []string{Range{c.From, c.To}.String(), utoa(c.Files)})
			}
			p.table("rr", rows)
		}
		if len(v.Worst) > 0 {
			p.linef("Worst files:")
			rows := [][]string{{"inode", "extents", "fragments", "ideal", "blocks", "path"}}
			for _, f := range v.Worst {
				path := f.Path
				if path == "" {
					path = fmt.Sprintf("<%d>", f.Inode)
				}
				rows = append(rows, []string{utoa(f.Inode), utoa(f.Fragments.Extents), utoa(f.Pieces), utoa(f.Ideal), utoa(f.Fragments.Blocks), escape(path)})
			}
			p.table("rrrrr", rows)
		}
	})
}
