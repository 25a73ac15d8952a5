package main

import (
	"crypto/rand"
	enchex "encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// newFile is a file on its way: without a name where the system allows that, so
// that nothing is left of it however the process ends, else with a temporary
// one.
type newFile struct {
	f    *os.File
	path string // what it will be called
	temp string // what it is called now; "" is nothing
}

// createNew makes a file that will be called path.
func createNew(path string) (*newFile, error) {
	dir := filepath.Dir(path)
	f, err := createUnnamed(path)
	if err == nil {
		return &newFile{f: f, path: path}, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, hostError(err)
	}
	f, err = os.CreateTemp(dir, tempPrefix+filepath.Base(path)+"-*")
	if err != nil {
		return nil, hostError(err)
	}
	// The others get what the umask leaves, as with any new file.
	if err := f.Chmod(0o666 &^ umask()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		os.Remove(f.Name())
		return nil, hostError(err)
	}
	return &newFile{f: f, path: path, temp: f.Name()}, nil
}

const tempPrefix = ".e4kit-"

// publish waits until the content is on the disk, gives the file its name, in
// place of what has it now if replace says so, and waits until that is on the
// disk, too. The file may be closed then.
func (n *newFile) publish(replace bool) error {
	if err := n.f.Sync(); err != nil {
		return hostError(err)
	}
	if err := n.name(replace); err != nil {
		return hostError(err)
	}
	return hostError(syncDir(filepath.Dir(n.path)))
}

func (n *newFile) name(replace bool) error {
	if n.temp == "" && !replace {
		return nameUnnamed(n.f, n.path)
	}
	if n.temp == "" {
		temp, err := n.nameTemp()
		if err != nil {
			return err
		}
		n.temp = temp
	}
	if !replace {
		// A rename would replace a file that came up meanwhile.
		if _, err := os.Lstat(n.path); err == nil {
			return &fs.PathError{Op: "create", Path: n.path, Err: fs.ErrExist}
		}
	}
	n.f.Close() // some systems rename no open files
	if err := os.Rename(n.temp, n.path); err != nil {
		return err
	}
	n.temp = ""
	return nil
}

// nameTemp gives an unnamed file a name of its own, for a rename.
func (n *newFile) nameTemp() (string, error) {
	for range 100 {
		name := filepath.Join(filepath.Dir(n.path), tempPrefix+filepath.Base(n.path)+"-"+randomText())
		err := nameUnnamed(n.f, name)
		if !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", fs.ErrExist
}

func randomText() string {
	var b [6]byte
	rand.Read(b[:])
	return enchex.EncodeToString(b[:])
}

// drop forgets a file that was not published; after that it does nothing.
func (n *newFile) drop() {
	n.f.Close()
	if n.temp != "" {
		os.Remove(n.temp)
		n.temp = ""
	}
}
