package main

import (
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// extentsOfAll lists every file of images.
func (e *env) extentsOfAll(args []string, o extentsOptions) error {
	var wholes []*image
	drawings := map[*image]*drawing{}
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return e.usagef("%v", err)
		}
		if t.given && t.path != "/" {
			return e.usagef("--all takes images, not files in them: %s", arg)
		}
		img, err := e.open(t.image)
		if err != nil {
			e.fail(err)
			continue
		}
		if err := e.listAll(img, o); err != nil {
			return err
		}
		wholes = append(wholes, img)
		drawings[img] = newDrawing(img)
	}
	return e.draw(wholes, drawings, o)
}

// groupList is what the files of one group give: their lines, and counts.
type groupList struct {
	*groupLines // nil until the first line
	stats       dump.ExtentStats
	errs        []fileError
}

// groupLinesSize is room for the lines of a usual group: growing there step by
// step touches several times as much memory.
const groupLinesSize = 1 << 20

// groupLines are lines and what it takes to make them. Another group takes it
// over when they are written.
type groupLines struct {
	out    []byte
	path   []byte           // of the file at hand, as text or JSON
	cursor *dump.PathCursor // nil without paths
}

type fileError struct {
	inode disk.InodeNum
	err   error
}

// maxGroupErrors bounds the errors that are told of one group.
const maxGroupErrors = 100

func (e *env) listAll(img *image, o extentsOptions) error {
	im := dump.New(img.fs)
	var paths *dump.Paths
	if o.paths || e.json && !o.noPaths && !o.summary {
		var err error
		if paths, err = im.Paths(e.ctx, nil); err != nil {
			return err
		}
	}
	w := e.writer()
	if !e.json && !o.summary {
		w.WriteString(dump.ExtentHeading)
	}
	var stats dump.ExtentStats
	spare := sync.Pool{New: func() any {
		l := &groupLines{out: make([]byte, 0, groupLinesSize)}
		if paths != nil {
			l.cursor = paths.Cursor()
		}
		return l
	}}
	visit := e.listFile(img, &spare, o)
	for t, err := range dump.Scan(e.ctx, im, dump.ScanOptions{Verify: !e.flags.ignoreChecksums}, visit) {
		if err != nil {
			return at(img.name, "", err)
		}
		if t.groupLines != nil {
			if _, err := w.Write(t.out); err != nil {
				return err
			}
			spare.Put(t.groupLines)
		}
		for _, f := range t.errs {
			path := ""
			if f.inode != 0 {
				path = fmt.Sprintf("<%d>", f.inode)
			}
			e.fail(at(img.name, path, f.err))
		}
		stats.Merge(&t.stats)
	}
	e.did()
	if worst := stats.Worst(); paths == nil && len(worst) > 0 {
		var err error
		if paths, err = im.Paths(e.ctx, worst); err != nil {
			return err
		}
	}
	sum := im.Summary(&stats, paths)
	if e.json {
		return e.writeJSON(sum)
	}
	if !o.summary {
		w.WriteByte('\n')
	}
	return sum.WriteText(w)
}

// listFile makes the lines of a file; it runs in several goroutines, each with
// a list of its own.
func (e *env) listFile(img *image, spare *sync.Pool, o extentsOptions) func(*groupList, *dump.File) {
	blockSize, json := img.fs.BlockSize(), e.json
	return func(t *groupList, f *dump.File) {
		t.stats.Add(f)
		if f.Err != nil && len(t.errs) < maxGroupErrors {
			t.errs = append(t.errs, fileError{f.Inode, f.Err})
		}
		if o.summary || f.Inode == 0 {
			return
		}
		if t.groupLines == nil {
			t.groupLines = spare.Get().(*groupLines)
			t.out = t.out[:0]
		}
		t.path = t.path[:0]
		switch {
		case t.cursor == nil:
		case json:
			t.path = t.cursor.AppendJSON(t.path, f.Inode)
		default:
			t.path = t.cursor.Append(t.path, f.Inode)
		}
		f.Runs(blockSize, true, func(x extent.Extent) {
			if json {
				t.out = dump.AppendExtentJSON(t.out, f.Inode, t.path, x)
			} else {
				t.out = dump.AppendExtentText(t.out, f.Inode, t.path, x)
			}
		})
	}
}
