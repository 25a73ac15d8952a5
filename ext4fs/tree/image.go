package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of trouble with container images.
var (
	// ErrNoImage: the image that was asked for is not there. It matches
	// fs.ErrNotExist.
	ErrNoImage = disk.NewKind("no such image", fs.ErrNotExist)
	// ErrManyImages: several images are there, and one must be named.
	ErrManyImages = errors.New("there are several images")
	// ErrLayer: a layer is of a kind that is not understood. It matches
	// disk.ErrUnsupported.
	ErrLayer = disk.NewKind("not a layer of files", disk.ErrUnsupported, errors.ErrUnsupported)
)

// ImageError says why no image could be chosen, and what there is. It matches
// ErrNoImage or ErrManyImages.
type ImageError struct {
	Want string // the tag or digest, "" for the only one
	// Platform is what was looked for, if the tag alone did not decide.
	Platform string
	Have     []string // tags, or platforms
	Err      error
}

func (e *ImageError) Error() string {
	var b strings.Builder
	b.WriteString(e.Err.Error())
	if e.Want != "" {
		fmt.Fprintf(&b, " %q", excerpt(e.Want))
	}
	if e.Platform != "" {
		fmt.Fprintf(&b, " for %s", excerpt(e.Platform))
	}
	if len(e.Have) == 0 {
		return b.String() + "; nothing has a name"
	}
	sep := "; there is: "
	for i, have := range e.Have {
		if i == 20 {
			fmt.Fprintf(&b, " and %d more", len(e.Have)-i)
			break
		}
		b.WriteString(sep)
		b.WriteString(excerpt(have))
		sep = ", "
	}
	return b.String()
}

// Unwrap returns the kind.
func (e *ImageError) Unwrap() error { return e.Err }

// platform is what an image runs on.
type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

func (p platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// parsePlatform reads "OS/ARCHITECTURE[/VARIANT]", or an architecture alone;
// "" is Linux on the processor of the host.
func parsePlatform(s string) (platform, error) {
	p := platform{OS: "linux", Architecture: runtime.GOARCH}
	parts := strings.Split(strings.ToLower(s), "/")
	switch {
	case s == "":
	case slices.Contains(parts, "") || len(parts) > 3:
		return p, fmt.Errorf("platform %q: %w", excerpt(s), ErrSyntax)
	case len(parts) == 1:
		p.Architecture = parts[0]
	default:
		p.OS, p.Architecture = parts[0], parts[1]
	}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	p.Architecture, p.Variant = normal(p.Architecture, p.Variant)
	return p, nil
}

// normal gives other names of architectures the one that Go has.
func normal(arch, variant string) (string, string) {
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "armhf":
		arch, variant = "arm", "v7"
	case "armel":
		arch, variant = "arm", "v6"
	case "i386", "i686":
		arch = "386"
	}
	if arch == "arm64" && (variant == "8" || variant == "v8") || arch == "amd64" && variant == "v1" {
		variant = "" // what all of them have
	}
	return arch, variant
}

// fit tells how well an image for have runs where p was asked for: 0 not at
// all, more is better.
func (p platform) fit(have platform) int {
	have.Architecture, have.Variant = normal(strings.ToLower(have.Architecture), strings.ToLower(have.Variant))
	switch {
	case p.OS != strings.ToLower(have.OS) || p.Architecture != have.Architecture:
		return 0
	case p.Variant == have.Variant:
		return 100
	case p.Variant == "" && p.Architecture == "arm":
		// Nothing is known of the processor: most are v7.
		switch have.Variant {
		case "v7":
			return 4
		case "v6":
			return 3
		case "v5":
			return 2
		}
		return 1
	case p.Variant == "":
		return 1
	case have.Variant == "":
		return 50 // the base of the architecture
	case len(p.Variant) == 2 && len(have.Variant) == 2 && have.Variant < p.Variant:
		return 10 + int(have.Variant[1]-'0')%10
	}
	return 0
}

// layerRef is a layer of an image.
type layerRef struct {
	path     string
	packed   *verifier // of the blob, nil if nothing says what it is to be
	unpacked *verifier // of what it unpacks to
}

// maxLayers bounds the layers of an image; Docker makes up to 127.
const maxLayers = 1024

// addLayers lays the layers of an image over what is there.
func addLayers(ctx context.Context, t *Tree, at ID, b blobs, layers []layerRef, o *Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	u, err := newUnpack(t, at, o)
	if err != nil {
		return err
	}
	// The next layers are unpacked while this one is looked through.
	var ahead []*archive
	begun := 0
	defer func() {
		for _, a := range ahead {
			a.Close()
		}
	}()
	for i := range layers {
		for ; begun < len(layers) && begun < i+runtime.GOMAXPROCS(0); begun++ {
			a, err := layers[begun].open(ctx, b, o)
			if err != nil {
				return layers[begun].error(err)
			}
			ahead = append(ahead, a)
		}
		a := ahead[0]
		ahead = ahead[1:]
		u.beginLayer()
		if err := u.archive(ctx, a); err != nil {
			return layers[i].error(err)
		}
	}
	return nil
}

func (l *layerRef) error(err error) error { return fmt.Errorf("layer %s: %w", excerpt(l.path), err) }

// open begins to unpack a layer.
func (l *layerRef) open(ctx context.Context, b blobs, o *Options) (*archive, error) {
	part, err := b.open(l.path)
	if err != nil {
		return nil, err
	}
	if l.packed != nil && l.packed.size >= 0 && l.packed.size != part.size {
		return nil, &DigestError{Want: string(l.packed.want), WantSize: l.packed.size, Size: part.size}
	}
	var s *sums
	if l.packed != nil || l.unpacked != nil {
		s = &sums{packed: l.packed, unpacked: l.unpacked}
	}
	return openBlob(ctx, part, s, o)
}
