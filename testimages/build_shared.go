package testimages

import (
	"os"
	"path/filepath"
)

// Names of the lists beside a shared image.
const (
	sharedTree = "tree"
	sharedStat = "stat"
)

// buildShared builds c in the folder cache, unless another process has done
// so; one that is at it is waited for.
func buildShared(cache string, c Case) (Image, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Image{}, err
	}
	dir := filepath.Join(cache, c.Name)
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if !exists(dir) {
		if err := fillShared(dir, c); err != nil {
			return Image{}, err
		}
	}
	im := Image{Case: c, Path: filepath.Join(dir, c.Name+".img")}
	if im.Tree, err = readManifest(filepath.Join(dir, sharedTree)); err != nil {
		return Image{}, err
	}
	if im.Stat, err = readManifest(filepath.Join(dir, sharedStat)); err != nil {
		return Image{}, err
	}
	trust(im.Path)
	return im, nil
}

// fillShared makes dir, which appears under its name when it is complete.
func fillShared(dir string, c Case) error {
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil { // a process was killed here
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	im, err := buildIn(tmp, c)
	if err != nil {
		return err
	}
	for name, m := range map[string]Manifest{sharedTree: im.Tree, sharedStat: im.Stat} {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(m.String()), 0o644); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

func readManifest(path string) (Manifest, error) {
	b, err := os.ReadFile(path)
	return ParseManifest(string(b)), err
}
