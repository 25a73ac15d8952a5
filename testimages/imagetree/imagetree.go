// Package imagetree reads manifests from images with the library under test.
// It is a package of its own because package ext4fs, which it needs, is tested
// with package testimages.
package imagetree

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// Manifest is the manifest that e4kit reads from an image, without lost+found.
func Manifest(ctx context.Context, img string) (testimages.Manifest, error) {
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		return nil, err
	}
	defer fsys.Close()
	root, err := fsys.Root()
	if err != nil {
		return nil, err
	}
	lines, err := fsys.Manifest(ctx, root)
	if err != nil {
		return nil, err
	}
	var m testimages.Manifest
	for _, l := range lines {
		if l.Err() != nil {
			return nil, fmt.Errorf("%s: %w", l.Path, l.Err())
		}
		m = append(m, l.String())
	}
	return m.Without("/lost+found"), nil
}
