package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// OCI is the source of FromOCI.
func OCI(layout, tag string) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		return FromOCI(ctx, t, at, layout, tag, o)
	}
}

// FromOCI adds the files of a container image to a directory. layout is an OCI
// image layout: a directory, or a tar archive of one. tag is the name that the
// image has in it (org.opencontainers.image.ref.name), or its digest; "" is the
// only image. Where it stands for images of several platforms,
// Options.Platform chooses. Errors are *ImageError when that fails, and
// *DigestError when a part is not what its digest says: all that is used is
// checked, the layers as they are read. An error comes too late to leave the
// tree as it was.
//
// Layers are tar streams, plain or compressed, as for FromTar, but that names
// may be absolute. Their whiteouts take away what lies below, also what other
// sources put there.
func FromOCI(ctx context.Context, t *Tree, at ID, layout, tag string, o *Options) error {
	b, err := openBlobs(ctx, t, layout, o)
	if err == nil {
		err = fromOCI(ctx, t, at, b, tag, o)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", layout, err)
	}
	return nil
}

// Media types.
const (
	typeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	typeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

	typeOCILayer     = "application/vnd.oci.image.layer."
	typeDockerLayer  = "application/vnd.docker.image.rootfs."
	annotationRef    = "org.opencontainers.image.ref.name"
	annotationName   = "io.containerd.image.name"
	annotationDocker = "vnd.docker.reference.type" // of what is no image, but about one
)

// descriptor points to a part of an image.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// ociIndex lists images, or other indexes.
type ociIndex struct {
	MediaType string       `json:"mediaType"`
	Manifests []descriptor `json:"manifests"`
}

// ociManifest is one image.
type ociManifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// maxIndexes bounds how deep indexes lie in one another, and maxManifests how
// many descriptions are read to find an image.
const (
	maxIndexes   = 4
	maxManifests = 256
)

// layoutOCI is an image layout.
type layoutOCI struct {
	b        blobs
	platform platform
	strict   bool // the platform was asked for, and is not only the host's
	reads    int
}

func fromOCI(ctx context.Context, t *Tree, at ID, b blobs, tag string, o *Options) error {
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := readJSON(b, "oci-layout", nil, &version); err != nil {
		return fmt.Errorf("not an OCI image layout: %w", err)
	}
	if !strings.HasPrefix(version.Version, "1.") {
		return fmt.Errorf("version %q of OCI image layouts: %w", excerpt(version.Version), disk.ErrUnsupported)
	}
	p, err := parsePlatform(o.Platform)
	if err != nil {
		return err
	}
	l := &layoutOCI{b: b, platform: p, strict: o.Platform != ""}
	var index ociIndex
	if err := readJSON(b, "index.json", nil, &index); err != nil {
		return err
	}
	d, err := l.named(&index, tag)
	if err != nil {
		return err
	}
	m, err := l.manifest(d, tag)
	if err != nil {
		return err
	}
	layers, err := m.layers()
	if err != nil {
		return err
	}
	return addLayers(ctx, t, at, b, layers, o)
}

// named chooses what the tag or digest means; the platforms of one tag become
// an index of their own.
func (l *layoutOCI) named(index *ociIndex, tag string) (*descriptor, error) {
	var found []descriptor
	if want, err := parseDigest(strings.TrimPrefix(tag, "@")); err == nil {
		d, err := l.byDigest(index, want, 0)
		if d == nil && err == nil {
			err = &ImageError{Want: tag, Have: tagsOf(index.Manifests), Err: ErrNoImage}
		}
		return d, err
	}
	images := imagesOf(index.Manifests)
	for _, d := range images {
		if tag == "" || d.Annotations[annotationRef] == tag || d.Annotations[annotationName] == tag {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return nil, &ImageError{Want: tag, Have: tagsOf(images), Err: ErrNoImage}
	case len(found) == 1 || sameDigest(found):
		return &found[0], nil
	}
	switch tags := tagsOf(found); {
	case len(tags) > 1:
		return nil, &ImageError{Want: tag, Have: tags, Err: ErrManyImages}
	case len(tags) == 1:
		// What has no name is left of earlier images.
		found = slices.DeleteFunc(found, func(d descriptor) bool { return len(tagsOf([]descriptor{d})) == 0 })
	}
	return l.choose(found, tag)
}

// sameDigest: one image may have several tags.
func sameDigest(list []descriptor) bool {
	for _, d := range list {
		if d.Digest != list[0].Digest {
			return false
		}
	}
	return true
}

// imagesOf leaves out what is no image: signatures, bills of materials.
func imagesOf(list []descriptor) []descriptor {
	return slices.DeleteFunc(slices.Clone(list), func(d descriptor) bool {
		return d.Annotations[annotationDocker] != "" ||
			d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
	})
}

func tagsOf(list []descriptor) []string {
	var tags []string
	for _, d := range list {
		tag := d.Annotations[annotationRef]
		if tag == "" {
			tag = d.Annotations[annotationName]
		}
		if tag != "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// byDigest looks for a manifest or index in all indexes.
func (l *layoutOCI) byDigest(index *ociIndex, want digest, depth int) (*descriptor, error) {
	for i := range index.Manifests {
		d := &index.Manifests[i]
		if d.Digest == string(want) {
			return d, nil
		}
		if !d.isIndex() || depth >= maxIndexes {
			continue
		}
		var next ociIndex
		if err := l.read(d, &next); err != nil {
			return nil, err
		}
		if found, err := l.byDigest(&next, want, depth+1); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

func (d *descriptor) isIndex() bool {
	return d.MediaType == typeOCIIndex || d.MediaType == typeDockerList
}

// read reads a description.
func (l *layoutOCI) read(d *descriptor, v any) error {
	if l.reads++; l.reads > maxManifests {
		return fmt.Errorf("more than %d manifests: %w", maxManifests, ErrTooMany)
	}
	sum, err := parseDigest(d.Digest)
	if err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("%s: size %d: %w", sum, d.Size, ErrSyntax)
	}
	return readJSON(l.b, sum.path(), newVerifier(sum, d.Size), v)
}

// manifest goes from index to index down to the image for the platform.
func (l *layoutOCI) manifest(d *descriptor, tag string) (*ociManifest, error) {
	known := d.Platform != nil
	for depth := 0; d.isIndex(); depth++ {
		if depth >= maxIndexes {
			return nil, fmt.Errorf("indexes in indexes: %w", ErrTooMany)
		}
		var index ociIndex
		if err := l.read(d, &index); err != nil {
			return nil, err
		}
		var err error
		if d, err = l.choose(imagesOf(index.Manifests), tag); err != nil {
			return nil, err
		}
		known = d.Platform != nil
	}
	if d.MediaType != typeOCIManifest && d.MediaType != typeDockerManifest {
		return nil, fmt.Errorf("%s: media type %q: %w", excerpt(d.Digest), excerpt(d.MediaType), disk.ErrUnsupported)
	}
	m := &ociManifest{}
	if err := l.read(d, m); err != nil {
		return nil, err
	}
	if !l.strict {
		return m, nil
	}
	var have platform
	if known {
		have = *d.Platform
	} else if err := l.read(&m.Config, &have); err != nil {
		return nil, err
	}
	if l.platform.fit(have) == 0 {
		return nil, &ImageError{Want: tag, Platform: l.platform.String(), Have: []string{have.String()}, Err: ErrNoImage}
	}
	return m, nil
}

// choose takes what fits the platform best, of several the first. A single
// image need not say what it is for.
func (l *layoutOCI) choose(list []descriptor, tag string) (*descriptor, error) {
	if len(list) == 1 && list[0].Platform == nil {
		return &list[0], nil
	}
	best, fit := -1, 0
	var have []string
	for i, d := range list {
		p := d.Platform
		if p == nil && !d.isIndex() {
			p = l.configured(&d)
		}
		if p == nil {
			if d.isIndex() && fit == 0 {
				best, fit = i, 1
			}
			continue
		}
		have = append(have, p.String())
		if f := l.platform.fit(*p); f > fit {
			best, fit = i, f
		}
	}
	if best < 0 && len(list) == 1 && !l.strict {
		return &list[0], nil
	}
	if best < 0 {
		return nil, &ImageError{Want: tag, Platform: l.platform.String(), Have: have, Err: ErrNoImage}
	}
	return &list[best], nil
}

// configured asks an image itself what it is for; nil if it does not tell.
func (l *layoutOCI) configured(d *descriptor) *platform {
	m, p := &ociManifest{}, &platform{}
	if l.read(d, m) != nil || l.read(&m.Config, p) != nil || p.Architecture == "" {
		return nil
	}
	return p
}

// layers checks what a manifest says of its layers.
func (m *ociManifest) layers() ([]layerRef, error) {
	if m.SchemaVersion != 2 {
		return nil, fmt.Errorf("version %d of manifests: %w", m.SchemaVersion, disk.ErrUnsupported)
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers: %w", len(m.Layers), ErrTooMany)
	}
	var list []layerRef
	for _, d := range m.Layers {
		sum, err := parseDigest(d.Digest)
		if err != nil {
			return nil, err
		}
		if !isLayer(d.MediaType) {
			return nil, fmt.Errorf("%s: media type %q: %w", sum, excerpt(d.MediaType), ErrLayer)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("%s: size %d: %w", sum, d.Size, ErrSyntax)
		}
		list = append(list, layerRef{path: sum.path(), packed: newVerifier(sum, d.Size)})
	}
	return list, nil
}

// isLayer reports whether a media type is one of layers of files that are not
// encrypted. How they are compressed their content tells.
func isLayer(mediaType string) bool {
	rest, ok := strings.CutPrefix(mediaType, typeOCILayer)
	if !ok {
		rest, ok = strings.CutPrefix(mediaType, typeDockerLayer)
	}
	return ok && strings.Contains("."+rest, ".tar") && !strings.Contains(rest, "+encrypted")
}
