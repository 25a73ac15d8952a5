package tree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// blobs is where the parts of an image are: a directory or an archive.
type blobs interface {
	// open gives a part by its path, with slashes. It stays open until the
	// tree is closed.
	open(name string) (*blob, error)
}

// openBlobs opens a directory, or an archive that is like one.
func openBlobs(ctx context.Context, t *Tree, path string, o *Options) (blobs, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, err
		}
		t.closeWith(root)
		return &dirBlobs{t, root}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t.closeWith(f)
	return openTarBlobs(ctx, t, f, o)
}

// dirBlobs are the files of a directory. No symbolic link leads out of it.
type dirBlobs struct {
	t    *Tree
	root *os.Root
}

func (b *dirBlobs) open(name string) (*blob, error) {
	name = filepath.FromSlash(name)
	// A FIFO would stand still when it is opened.
	st, err := b.root.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = pathError("open", name, ErrType)
	}
	if err != nil {
		return nil, err
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, err
	}
	b.t.closeWith(f)
	if st, err = f.Stat(); err != nil {
		return nil, err
	}
	return &blob{r: f, size: st.Size(), host: f}, nil
}

// maxBlobs bounds the members of an archive that holds an image.
const maxBlobs = 1 << 16

// tarBlobs are the members of an archive.
type tarBlobs struct {
	files *Tree
	u     *unpack
}

func openTarBlobs(ctx context.Context, t *Tree, r io.Reader, o *Options) (blobs, error) {
	files := New()
	files.max = maxBlobs
	t.closeWith(files)
	inner := &Options{TempDir: o.TempDir, MaxBytes: o.MaxBytes, spooled: o.spooled}
	a, err := openStream(ctx, r, inner)
	if err != nil {
		return nil, err
	}
	u, err := newUnpack(files, Root, inner)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if err := u.archive(ctx, a); err != nil {
		return nil, err
	}
	return &tarBlobs{files, u}, nil
}

// open follows symbolic links, which old archives have for equal layers.
func (b *tarBlobs) open(name string) (*blob, error) {
	id, err := b.u.lookup(name)
	if err != nil {
		return nil, pathError("open", name, bare(err))
	}
	f, err := b.files.Open(id)
	if err != nil {
		return nil, err
	}
	size := b.files.Node(id).Size
	host, base, ok := f.Host()
	if !ok {
		host, base = nil, 0
	}
	return &blob{r: f, size: size, host: host, base: base}, nil
}

// readAll reads a small blob whole.
func (b *blob) readAll(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, fmt.Errorf("%d bytes, and at most %d are read: %w", b.size, limit, ErrTooMany)
	}
	p := make([]byte, b.size)
	return p, device.ReadFull(b.r, p, 0)
}

// maxJSON bounds what is read of an image's description. Registries take
// manifests of up to 4 MiB.
const maxJSON = 8 << 20

// readJSON reads a description, and checks its digest if there is one.
func readJSON(b blobs, name string, check *verifier, v any) error {
	part, err := b.open(name)
	if err != nil {
		return err
	}
	text, err := part.readAll(maxJSON)
	if err != nil {
		return pathError("read", name, bare(err))
	}
	if check != nil {
		check.Write(text)
		if err := check.check(); err != nil {
			return pathError("read", name, err)
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return pathError("read", name, fmt.Errorf("%w: %w", ErrSyntax, err))
	}
	return nil
}

// exists reports whether a part is there.
func exists(b blobs, name string) bool {
	_, err := b.open(name)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}
