package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mountEntry is a line of the kernel's table of mounts.
type mountEntry struct {
	device string // MAJOR:MINOR
	dir    string
	kind   string // "fuse.e4kit"
	source string
	super  string // options
}

// Types of our mounts: the second of block devices, which others have as well.
const (
	mountKind       = "fuse.e4kit"
	mountKindDevice = "fuseblk"
)

// ours reports whether e4kit has made the mount. One of a block device is known by
// the socket of its server.
func (m *mountEntry) ours() bool {
	if m.kind != mountKindDevice {
		return m.kind == mountKind
	}
	return slices.ContainsFunc(m.sockets(os.Getenv), func(name string) bool {
		_, err := os.Lstat(name)
		return err == nil
	})
}

// readMountTable reads /proc/self/mountinfo:
//
//	36 35 0:42 / /mnt/a\040b rw,nosuid shared:1 - fuse.e4kit /img rw,user_id=0
func readMountTable(r io.Reader) ([]mountEntry, error) {
	var list []mountEntry
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		head, tail, ok := strings.Cut(sc.Text(), " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(h) < 6 || len(t) < 3 {
			continue
		}
		list = append(list, mountEntry{h[2], unescapeMount(h[4]), t[0], unescapeMount(t[1]), t[2]})
	}
	return list, sc.Err()
}

// unescapeMount undoes \040 and the like.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// owner is the user who has mounted; -1 if that is not told.
func (m *mountEntry) owner() int {
	for _, word := range strings.Split(m.super, ",") {
		if text, ok := strings.CutPrefix(word, "user_id="); ok {
			if n, err := strconv.ParseUint(text, 10, 31); err == nil {
				return int(n)
			}
		}
	}
	return -1
}

// sockets are where its server may listen.
func (m *mountEntry) sockets(getenv func(string) string) []string {
	var list []string
	for _, dir := range statusDirs(getenv, m.owner()) {
		list = append(list, statusSocket(dir, m.device))
	}
	return list
}

// findMount finds what is mounted on a directory, the last one if there are
// several. The directory itself is not asked, for its server may not answer.
func findMount(name string) (*mountEntry, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	table, err := mountTable()
	if err != nil {
		return nil, err
	}
	search := func(dir string) *mountEntry {
		for i := len(table) - 1; i >= 0; i-- {
			if table[i].dir == dir {
				return &table[i]
			}
		}
		return nil
	}
	if m := search(dir); m != nil {
		return m, nil
	}
	if above, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		if m := search(filepath.Join(above, filepath.Base(dir))); m != nil {
			return m, nil
		}
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if m := search(real); m != nil {
		return m, nil
	}
	return nil, errNotMounted
}

var errNotMounted = errors.New("nothing is mounted there")

// findOwnMount is findMount of what e4kit has mounted.
func findOwnMount(name string) (*mountEntry, error) {
	m, err := findMount(name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, at(name, "", err)
	}
	if !m.ours() {
		return nil, at(name, "", fmt.Errorf("it is a mount of type %s, and not by e4kit", m.kind))
	}
	return m, nil
}

// mountedDevice is the number of the mount on a directory.
func mountedDevice(dir string) (string, error) {
	m, err := findMount(dir)
	if err != nil {
		return "", err
	}
	return m.device, nil
}
