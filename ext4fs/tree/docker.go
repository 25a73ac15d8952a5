package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Docker is the source of FromDocker.
func Docker(file, tag string) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		return FromDocker(ctx, t, at, file, tag, o)
	}
}

// DockerReader is the source of FromDocker for a stream; what FromTar says of
// it counts here too.
func DockerReader(r io.Reader, tag string) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		b, err := openTarBlobs(ctx, t, r, o)
		if err != nil {
			return err
		}
		return fromDocker(ctx, t, at, b, tag, o)
	}
}

// FromDocker adds the files of a container image that "docker save" wrote, or
// another program in its form. file is a tar archive, which may be compressed,
// or a directory that one was unpacked to. tag is the name of the image
// ("alpine:3.20"), or the part after the colon; "" is the only image. Layers,
// whiteouts and errors are as for FromOCI; digests are those of the
// configuration and, in it, of the layers as they unpack. An archive that has
// no manifest.json but is an OCI image layout is read as that.
func FromDocker(ctx context.Context, t *Tree, at ID, file, tag string, o *Options) error {
	b, err := openBlobs(ctx, t, file, o)
	if err == nil {
		err = fromDocker(ctx, t, at, b, tag, o)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// dockerImage is an entry of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerConfig is what counts here of an image's configuration.
type dockerConfig struct {
	platform
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func fromDocker(ctx context.Context, t *Tree, at ID, b blobs, tag string, o *Options) error {
	var images []dockerImage
	err := readJSON(b, "manifest.json", nil, &images)
	if errors.Is(err, fs.ErrNotExist) && exists(b, "oci-layout") {
		return fromOCI(ctx, t, at, b, tag, o)
	}
	if err != nil {
		return fmt.Errorf("not an archive of docker save: %w", err)
	}
	want, err := parsePlatform(o.Platform)
	if err != nil {
		return err
	}
	image, config, err := chooseDocker(b, images, tag, want, o.Platform != "")
	if err != nil {
		return err
	}
	layers, err := image.layers(config)
	if err != nil {
		return err
	}
	return addLayers(ctx, t, at, b, layers, o)
}

// chooseDocker finds an image by its name, of several the one for the platform.
func chooseDocker(b blobs, images []dockerImage, tag string, want platform, strict bool) (*dockerImage, *dockerConfig, error) {
	var found []*dockerImage
	var have []string
	exact := false
	for i := range images {
		have = append(have, images[i].RepoTags...)
		match, whole := images[i].called(tag)
		if whole && !exact {
			found, exact = nil, true
		}
		if match && (whole || !exact) {
			found = append(found, &images[i])
		}
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if len(found) == 0 {
		return nil, nil, &ImageError{Want: tag, Have: have, Err: ErrNoImage}
	}
	if len(found) > maxManifests {
		return nil, nil, fmt.Errorf("%d images: %w", len(found), ErrTooMany)
	}
	var best *dockerImage
	var bestConfig *dockerConfig
	fit, fits := 0, 0
	var platforms []string
	for _, image := range found {
		c, err := image.config(b)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 1 && !strict {
			return image, c, nil
		}
		platforms = append(platforms, c.String())
		f := want.fit(c.platform)
		if f == fit && f > 0 && image.Config != best.Config {
			fits++
		} else if f > fit {
			best, bestConfig, fit, fits = image, c, f, 1
		}
	}
	switch {
	case best == nil:
		return nil, nil, &ImageError{Want: tag, Platform: want.String(), Have: platforms, Err: ErrNoImage}
	case fits > 1:
		return nil, nil, &ImageError{Want: tag, Have: have, Err: ErrManyImages}
	}
	return best, bestConfig, nil
}

// called reports whether the image has the name, or the short form of it; whole
// that it was all of the name.
func (d *dockerImage) called(tag string) (match, whole bool) {
	if tag == "" || slices.Contains(d.RepoTags, tag) {
		return true, tag != ""
	}
	for _, name := range d.RepoTags {
		// The part after the colon, a name without one, one without its host.
		if strings.HasSuffix(name, ":"+tag) || name == tag+":latest" ||
			strings.HasSuffix(name, "/"+tag) || strings.HasSuffix(name, "/"+tag+":latest") {
			match = true
		}
	}
	return match, false
}

// config reads the configuration. Its name is its digest.
func (d *dockerImage) config(b blobs) (*dockerConfig, error) {
	var check *verifier
	base := strings.TrimSuffix(path.Base(d.Config), ".json")
	if sum, err := parseDigest("sha256:" + base); err == nil {
		check = newVerifier(sum, -1)
	}
	c := &dockerConfig{}
	return c, readJSON(b, d.Config, check, c)
}

// layers pairs the layers with what the configuration says of them.
func (d *dockerImage) layers(c *dockerConfig) ([]layerRef, error) {
	if len(d.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers: %w", len(d.Layers), ErrTooMany)
	}
	if len(d.Layers) != len(c.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%d layers, and digests of %d: %w", len(d.Layers), len(c.RootFS.DiffIDs), disk.ErrCorrupt)
	}
	var list []layerRef
	for i, name := range d.Layers {
		sum, err := parseDigest(c.RootFS.DiffIDs[i])
		if err != nil {
			return nil, err
		}
		list = append(list, layerRef{path: name, unpacked: newVerifier(sum, -1)})
	}
	return list, nil
}
