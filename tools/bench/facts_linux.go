package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/testimages"
)

func noFacts(place) (string, error) { return "something else", nil }

// treeFacts counts what was copied.
func treeFacts(p place) (string, error) {
	var names, linked, bytes int64
	err := filepath.WalkDir(p.dest, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		names++
		if fi.Mode().IsRegular() {
			bytes += fi.Size()
			if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
				linked++
			}
		}
		return nil
	})
	return fmt.Sprintf("%d names, %d of them hard links, %d bytes", names, linked, bytes), err
}

// sameTrees compares two trees by their manifests, less the columns.
func sameTrees(columns ...string) func(peer, ours place) error {
	return func(peer, ours place) error {
		want, err := testimages.ManifestDir(peer.dest)
		if err != nil {
			return err
		}
		got, err := testimages.ManifestDir(ours.dest)
		if err != nil {
			return err
		}
		if diff := testimages.Diff(want.Drop(columns...), got.Drop(columns...)); diff != "" {
			return errors.New("the trees differ:\n" + diff)
		}
		return nil
	}
}

// lines calls fn for every line of the output.
func lines(p place, fn func(line []byte) error) error {
	f, err := os.Open(p.out)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if err := fn(s.Bytes()); err != nil {
			return fmt.Errorf("%w in line %q", err, s.Bytes())
		}
	}
	return s.Err()
}

// findFacts adds up columns of find -ls: a line is
// INODE KIB MODE LINKS USER GROUP SIZE TIME... PATH.
func findFacts(p place) (string, error) {
	var n int
	var inodes, links, size uint64
	err := lines(p, func(line []byte) error {
		f := bytes.Fields(line)
		if len(f) < 8 {
			return errors.New("too few columns")
		}
		n++
		var errs []error
		for i, sum := range map[int]*uint64{0: &inodes, 3: &links, 6: &size} {
			v, err := strconv.ParseUint(string(f[i]), 10, 64)
			errs = append(errs, err)
			*sum += v
		}
		return errors.Join(errs...)
	})
	return fmt.Sprintf("%d names, inode sum %d, link sum %d, %d bytes", n, inodes, links, size), err
}

// extentSums are what the two forms of extents must agree on.
type extentSums struct{ runs, blocks, starts uint64 }

func (s extentSums) String() string {
	return fmt.Sprintf("%d extents, %d blocks, sum of starts %d", s.runs, s.blocks, s.starts)
}

// debugfsExtents reads the tables of debugfs, whose leaf rows have the depth
// twice: "DEPTH/ DEPTH N/ M LOGICAL - LOGICAL PHYSICAL - PHYSICAL LENGTH".
func debugfsExtents(p place) (string, error) {
	var s extentSums
	err := lines(p, func(line []byte) error {
		f := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '/' || r == '-' })
		if len(f) < 9 || f[0] != f[1] {
			return nil
		}
		start, err := strconv.ParseUint(f[6], 10, 64)
		if err != nil {
			return nil // a heading
		}
		n, err := strconv.ParseUint(f[8], 10, 64)
		s.runs++
		s.blocks += n
		s.starts += start
		return err
	})
	return s.String(), err
}

// firstNamed is the first inode that a name can lead to, but for the root:
// those before it are reserved.
const firstNamed = 11

// ourExtents reads our JSON lines; the summary is one without an inode.
func ourExtents(p place) (string, error) {
	var s extentSums
	err := lines(p, func(line []byte) error {
		var e struct {
			Inode    uint32
			Physical *uint64
			Length   uint64
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Physical == nil || e.Inode < firstNamed && e.Inode != 2 {
			return nil
		}
		s.runs++
		s.blocks += e.Length
		s.starts += *e.Physical
		return nil
	})
	return s.String(), err
}

// sum adds up numbers that stand in lines of text.
type sum struct{ count, total uint64 }

func (s *sum) add(text string) error {
	v, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	s.count++
	s.total += v
	return err
}

func groupSums(groups int, blocks, inodes sum) string {
	return fmt.Sprintf("%d groups, %d free blocks, %d free inodes", groups, blocks.total, inodes.total)
}

// dumpe2fsFacts reads "  N free blocks, N free inodes, N directories".
func dumpe2fsFacts(p place) (string, error) {
	groups := 0
	var blocks, inodes sum
	err := lines(p, func(line []byte) error {
		s := string(line)
		if strings.HasPrefix(s, "Group ") && strings.Contains(s, ": (Blocks ") {
			groups++
		}
		before, after, ok := strings.Cut(s, " free blocks, ")
		if !ok {
			return nil
		}
		after, _, _ = strings.Cut(after, " free inodes")
		return errors.Join(blocks.add(before), inodes.add(after))
	})
	return groupSums(groups, blocks, inodes), err
}

// groupFacts reads our lines "Group N" and below them "NAME: VALUE".
func groupFacts(p place) (string, error) {
	groups := 0
	var blocks, inodes sum
	err := lines(p, func(line []byte) error {
		s := string(line)
		if strings.HasPrefix(s, "Group ") {
			groups++
			return nil
		}
		name, value, _ := strings.Cut(strings.TrimSpace(s), ":")
		switch name {
		case "Free clusters":
			return blocks.add(value)
		case "Free inodes":
			return inodes.add(value)
		}
		return nil
	})
	return groupSums(groups, blocks, inodes), err
}

// freeFacts reads the line "Free blocks: N", which both programs have.
func freeFacts(p place) (string, error) {
	facts := ""
	err := lines(p, func(line []byte) error {
		if value, ok := strings.CutPrefix(string(line), "Free blocks:"); ok {
			value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
			facts = value + " free blocks"
		}
		return nil
	})
	if err == nil && facts == "" {
		err = errors.New("no line says how many blocks are free")
	}
	return facts, err
}
