package tree

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// layout is an OCI image layout, or a docker archive, in the making.
type layout map[string][]byte

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (l layout) json(t testing.TB, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	l[name] = b
}

type object = map[string]any

// put adds a blob and returns its descriptor.
func (l layout) put(mediaType string, b []byte) object {
	l["blobs/sha256/"+sha(b)] = b
	return object{"mediaType": mediaType, "digest": "sha256:" + sha(b), "size": len(b)}
}

func (l layout) putJSON(t testing.TB, mediaType string, v any) object {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return l.put(mediaType, b)
}

// image adds an image with layers as they are, and returns its descriptor.
func (l layout) image(t testing.TB, arch string, layers ...[]byte) object {
	t.Helper()
	var list []object
	for _, b := range layers {
		list = append(list, l.put("application/vnd.oci.image.layer.v1.tar+gzip", b))
	}
	config := l.putJSON(t, "application/vnd.oci.image.config.v1+json", object{"os": "linux", "architecture": arch})
	return l.putJSON(t, typeOCIManifest, object{"schemaVersion": 2, "mediaType": typeOCIManifest, "config": config, "layers": list})
}

func with(d object, more ...any) object {
	d = object{"mediaType": d["mediaType"], "digest": d["digest"], "size": d["size"], "platform": d["platform"], "annotations": d["annotations"]}
	for i := 0; i < len(more); i += 2 {
		d[more[i].(string)] = more[i+1]
	}
	return d
}

func tagged(d object, tag string) object {
	return with(d, "annotations", object{annotationRef: tag})
}

func on(d object, os, arch, variant string) object {
	return with(d, "platform", object{"os": os, "architecture": arch, "variant": variant})
}

func (l layout) index(t testing.TB, list ...object) layout {
	t.Helper()
	l["oci-layout"] = []byte(`{"imageLayoutVersion": "1.0.0"}`)
	l.json(t, "index.json", object{"schemaVersion": 2, "manifests": list})
	return l
}

func (l layout) sub(t testing.TB, list ...object) object {
	t.Helper()
	return l.putJSON(t, typeOCIIndex, object{"schemaVersion": 2, "mediaType": typeOCIIndex, "manifests": list})
}

// dir writes the layout to a directory.
func (l layout) dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range l {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tar writes the layout to an archive.
func (l layout) tar(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layout.tar")
	if err := os.WriteFile(path, l.stream(t), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (l layout) stream(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var list []string
	for name := range l {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		h := &tar.Header{Name: name, Size: int64(len(l[name])), Mode: 0o644}
		if target, ok := strings.CutPrefix(string(l[name]), "link:"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write(l[name])
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	// A skippable frame behind it, as zstd:chunked has its table of contents.
	return append(w.EncodeAll(b, nil), 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 't', 'o', 'c', '!')
}

// TestFromOCI_whiteouts: what a layer hides, and what not.
func TestFromOCI_whiteouts(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name} }
	base := []tar.Header{tdir("d"), file("d/a"), file("d/b"), tdir("d/s"), file("d/s/x"), file("f"), tlink("l", "d"), thard("h", "f")}
	const all = "d/|d/a = d/a|d/b = d/b|d/s/|d/s/x = d/s/x|f = f|h = f|l -> d"
	for _, tt := range []struct {
		name   string
		layers [][]tar.Header
		want   string
		err    error
	}{
		{"file", [][]tar.Header{base, {file("d/.wh.a")}}, strings.Replace(all, "d/a = d/a|", "", 1), nil},
		{"directory", [][]tar.Header{base, {file(".wh.d")}}, "f = f|h = f|l -> d", nil},
		{"one of two names", [][]tar.Header{base, {file(".wh.f")}}, strings.Replace(all, "f = f|", "", 1), nil},
		{"link, not what it leads to", [][]tar.Header{base, {file(".wh.l")}}, strings.TrimSuffix(all, "|l -> d"), nil},
		{"through a link", [][]tar.Header{base, {file("l/.wh.a")}}, strings.Replace(all, "d/a = d/a|", "", 1), nil},
		{"nothing", [][]tar.Header{base, {file(".wh.zz"), file("yy/.wh.zz"), file("f/.wh.zz")}}, all, nil},
		{"first layer", [][]tar.Header{{file("a"), file(".wh.a"), file(".wh..wh..opq")}}, "a = a", nil},
		{"opaque", [][]tar.Header{base, {tdir("d"), file("d/.wh..wh..opq"), file("d/n")}}, "d/|d/n = d/n|f = f|h = f|l -> d", nil},
		{"opaque at the end", [][]tar.Header{base, {tdir("d"), file("d/n"), file("d/.wh..wh..opq")}}, "d/|d/n = d/n|f = f|h = f|l -> d", nil},
		{"opaque top", [][]tar.Header{base, {file("n"), file(".wh..wh..opq")}}, "n = n", nil},
		{"opaque new directory", [][]tar.Header{base, {file("new/.wh..wh..opq"), file("new/a")}}, strings.Replace(all, "|l -> d", "|l -> d|new/|new/a = new/a", 1), nil},
		{"own file stays", [][]tar.Header{base, {file("d/a"), file("d/.wh.a")}}, all, nil},
		{"own file comes back", [][]tar.Header{base, {file("d/.wh.a"), file("d/a")}}, all, nil},
		{"own directory stays, what was in it goes", [][]tar.Header{base, {tdir("d"), file("d/n"), file(".wh.d")}}, "d/|d/n = d/n|f = f|h = f|l -> d", nil},
		{"own directory in a hidden one", [][]tar.Header{base, {file("d/s/n"), file(".wh.d")}}, "d/|d/s/|d/s/n = d/s/n|f = f|h = f|l -> d", nil},
		{"own link to a file from below", [][]tar.Header{base, {thard("d/n", "f"), file("d/.wh..wh..opq")}}, "d/|d/n = f|f = f|h = f|l -> d", nil},
		{"file in place of a directory", [][]tar.Header{base, {file("d"), file(".wh.d")}}, "d = d|f = f|h = f|l -> d", nil},
		{"back in a third layer", [][]tar.Header{base, {file(".wh.d")}, {file("d/a")}}, "d/|d/a = d/a|f = f|h = f|l -> d", nil},
		{"of aufs", [][]tar.Header{base, {file(".wh..wh.aufs"), tdir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2")}}, all, nil},
		{"no name", [][]tar.Header{base, {file("d/.wh.")}}, "", ErrName},
		{"dots", [][]tar.Header{base, {file("d/.wh...")}}, "", ErrName},
		{"dot", [][]tar.Header{base, {file("d/.wh..")}}, "", ErrName},
		{"below a whiteout", [][]tar.Header{base, {file(".wh.d/x")}}, "", ErrName},
		{"absolute", [][]tar.Header{base, {file("/.wh.d"), file("/f")}}, "f = /f|h = f|l -> d", nil},
		{"link on the way is replaced", [][]tar.Header{base, {file("l/n"), file(".wh.l"), tdir("l"), file("l/m")}}, strings.Replace(all, "d/s/|d/s/x = d/s/x|f = f|h = f|l -> d", "d/n = l/n|d/s/|d/s/x = d/s/x|f = f|h = f|l/|l/m = l/m", 1), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := layout{}
			var layers [][]byte
			for _, m := range tt.layers {
				layers = append(layers, tarOf(t, m...))
			}
			dir := l.index(t, l.image(t, "amd64", layers...)).dir(t)
			x, err := Load(context.Background(), Options{}, OCI(dir, ""))
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			defer x.Close()
			if got := names(t, x); got != tt.want {
				t.Errorf("\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestFromOCI_attributes: a directory that is hidden and there again for what
// the layer has in it has nothing of the old one.
func TestFromOCI_attributes(t *testing.T) {
	for _, upper := range [][]tar.Header{
		{{Name: ".wh.d"}, {Name: "d/n"}}, {{Name: "d/n"}, {Name: ".wh.d"}},
	} {
		l := layout{}
		lower := tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 5, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}
		x := loadAll(t, Options{}, OCI(l.index(t, l.image(t, "amd64", tarOf(t, lower), tarOf(t, upper...))).dir(t), ""))
		id, _ := x.LookupPath("d")
		if n := x.Node(id); n.Mode != disk.ModeDir|0o755 || n.UID != 0 || x.Xattrs(id) != nil {
			t.Errorf("%+v, %v", n, x.Xattrs(id))
		}
	}
}

// TestFromOCI_layered: whiteouts reach what other sources have put there.
func TestFromOCI_layered(t *testing.T) {
	l := layout{}
	l.index(t, l.image(t, "amd64", tarOf(t, tar.Header{Name: ".wh.gone"}, tar.Header{Name: "new"})))
	before := TarReader(bytes.NewReader(tarOf(t, tar.Header{Name: "gone"}, tar.Header{Name: "stays"})))
	after := TarReader(bytes.NewReader(tarOf(t, tar.Header{Name: ".wh.new"})))
	x := loadAll(t, Options{}, before, OCI(l.dir(t), ""), after)
	if got, want := names(t, x), ".wh.new = .wh.new|new = new|stays = stays"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFromOCI_choose: tags, platforms, digests, indexes in indexes.
func TestFromOCI_choose(t *testing.T) {
	l := layout{}
	one := func(name, arch string) object { return l.image(t, arch, gzipped(tarOf(t, tar.Header{Name: name}))) }
	amd, arm, arm7, arm6 := one("amd", "amd64"), one("arm64", "arm64"), one("arm7", "arm"), one("arm6", "arm")
	other := one("other", "amd64")
	multi := l.sub(t, on(amd, "linux", "amd64", ""), on(arm, "linux", "arm64", "v8"), on(arm6, "linux", "arm", "v6"), on(arm7, "linux", "arm", "v7"),
		with(other, "platform", object{"os": "unknown", "architecture": "unknown"}), on(other, "windows", "amd64", ""))
	nested := l.sub(t, l.sub(t, multi))
	deep := multi
	for range maxIndexes + 1 {
		deep = l.sub(t, deep)
	}
	attestation := with(other, "annotations", object{annotationDocker: "attestation-manifest"})
	const amd64, arm64 = "linux/amd64", "linux/arm64"
	for _, tt := range []struct {
		name     string
		index    []object
		tag      string
		platform string
		want     string
		err      error
		text     string
	}{
		{"only one", []object{amd}, "", "", "amd", nil, ""},
		{"only one, of another platform", []object{on(arm, "linux", "arm64", "")}, "", "", "arm64", nil, ""},
		{"only one, not that platform", []object{arm}, "", amd64, "", ErrNoImage, "linux/arm64"},
		{"tag", []object{tagged(amd, "a"), tagged(other, "b")}, "b", "", "other", nil, ""},
		{"name of containerd", []object{with(amd, "annotations", object{annotationName: "docker.io/library/a:1"}), tagged(other, "b")}, "docker.io/library/a:1", "", "amd", nil, ""},
		{"no such tag", []object{tagged(amd, "b"), tagged(other, "a")}, "c", "", "", ErrNoImage, "a, b"},
		{"which tag", []object{tagged(amd, "b"), tagged(other, "a")}, "", "", "", ErrManyImages, "a, b"},
		{"two tags of one", []object{tagged(amd, "b"), tagged(amd, "a")}, "", "", "amd", nil, ""},
		{"one tag, and remains", []object{other, tagged(amd, "b")}, "", "", "amd", nil, ""},
		{"attestation beside it", []object{attestation, amd}, "", "", "amd", nil, ""},
		{"index", []object{multi}, "", amd64, "amd", nil, ""},
		{"index, arm64", []object{multi}, "", "aarch64", "arm64", nil, ""},
		{"index, arm", []object{multi}, "", "linux/arm", "arm7", nil, ""},
		{"index, arm v6", []object{multi}, "", "linux/arm/v6", "arm6", nil, ""},
		{"index, no such platform", []object{multi}, "", "linux/s390x", "", ErrNoImage, "linux/arm/v7"},
		{"indexes in indexes", []object{tagged(nested, "x")}, "x", arm64, "arm64", nil, ""},
		{"too deep", []object{deep}, "", amd64, "", ErrTooMany, ""},
		{"platforms of one tag", []object{tagged(on(amd, "linux", "amd64", ""), "x"), tagged(on(arm, "linux", "arm64", ""), "x")}, "x", arm64, "arm64", nil, ""},
		{"platform from the configuration", []object{tagged(amd, "x"), tagged(arm, "x")}, "x", arm64, "arm64", nil, ""},
		{"digest", []object{nested}, arm["digest"].(string), "", "arm64", nil, ""},
		{"no such digest", []object{tagged(nested, "t")}, "sha256:" + strings.Repeat("0", 64), "", "", ErrNoImage, ""},
		{"none", nil, "", "", "", ErrNoImage, ""},
		{"platform", []object{amd}, "", "a//b", "", ErrSyntax, ""},
	} {
		l.index(t, tt.index...)
		for _, path := range []string{l.dir(t), l.tar(t)} {
			x, err := Load(context.Background(), Options{Platform: tt.platform}, OCI(path, tt.tag))
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%s: %v: does not tell of %q", tt.name, err, tt.text)
				}
				continue
			}
			if got, _, _ := strings.Cut(names(t, x), " "); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFromOCI_layers: layers of all kinds, from a directory and an archive.
func TestFromOCI_layers(t *testing.T) {
	l := layout{}
	layers := [][]byte{
		tarOf(t, tar.Header{Name: "plain"}), gzipped(tarOf(t, tar.Header{Name: "gzip"})), zstded(tarOf(t, tar.Header{Name: "zstd"})),
		gzipped(tarOf(t)), append(gzipped(tarOf(t, tar.Header{Name: "more"})), make([]byte, 100)...),
	}
	l.index(t, l.image(t, "amd64", layers...))
	for _, path := range []string{l.dir(t), l.tar(t)} {
		x := loadAll(t, Options{}, OCI(path, ""))
		if got, want := names(t, x), "gzip = gzip|more = more|plain = plain|zstd = zstd"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		id, _ := x.LookupPath("plain")
		f, err := x.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		host, off, ok := f.Host()
		p := make([]byte, 5)
		if !ok {
			t.Error("no file of the host")
		} else if _, err := host.ReadAt(p, off); err != nil || string(p) != "plain" {
			t.Errorf("%q, %v", p, err)
		}
	}
	sum := sha512.Sum512(layers[0])
	name := hex.EncodeToString(sum[:])
	l["blobs/sha512/"+name] = layers[0]
	m := l.putJSON(t, typeDockerManifest, object{"schemaVersion": 2, "layers": []object{
		{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "digest": "sha512:" + name, "size": len(layers[0])}}})
	x := loadAll(t, Options{}, OCI(l.index(t, m).dir(t), ""))
	if got := names(t, x); got != "plain = plain" {
		t.Error(got)
	}
}

// TestFromOCI_damaged: nothing is believed.
func TestFromOCI_damaged(t *testing.T) {
	data := tarOf(t, tar.Header{Name: "a"})
	changed := bytes.Clone(data)
	changed[512] ^= 1
	for _, tt := range []struct {
		name   string
		damage func(l layout, m object)
		err    error
	}{
		{"no oci-layout", func(l layout, m object) { delete(l, "oci-layout") }, fs.ErrNotExist},
		{"version", func(l layout, m object) { l["oci-layout"] = []byte(`{"imageLayoutVersion": "2.0.0"}`) }, disk.ErrUnsupported},
		{"no index", func(l layout, m object) { delete(l, "index.json") }, fs.ErrNotExist},
		{"no JSON", func(l layout, m object) { l["index.json"] = []byte("[") }, ErrSyntax},
		{"other JSON", func(l layout, m object) { l["index.json"] = []byte(`{"manifests": 5}`) }, ErrSyntax},
		{"deep JSON", func(l layout, m object) { l["index.json"] = bytes.Repeat([]byte("["), 1<<20) }, ErrSyntax},
		{"huge JSON", func(l layout, m object) { l["index.json"] = make([]byte, maxJSON+1) }, ErrTooMany},
		{"no manifest", func(l layout, m object) { delete(l, "blobs/sha256/"+m["digest"].(string)[7:]) }, fs.ErrNotExist},
		{"manifest changed", func(l layout, m object) { l["blobs/sha256/"+m["digest"].(string)[7:]] = []byte("{}") }, ErrDigest},
		{"no layer", func(l layout, m object) { delete(l, "blobs/sha256/"+sha(data)) }, fs.ErrNotExist},
		{"layer changed", func(l layout, m object) { l["blobs/sha256/"+sha(data)] = changed }, ErrDigest},
		{"layer longer", func(l layout, m object) { l["blobs/sha256/"+sha(data)] = append(bytes.Clone(data), 0) }, ErrDigest},
		{"compressed layer changed", func(l layout, m object) {
			z := gzipped(data)
			zz := bytes.Clone(z)
			zz[4] ^= 1 // the time in the header
			packed := l.image(t, "amd64", z)
			l["blobs/sha256/"+sha(z)] = zz
			l.index(t, packed)
		}, ErrDigest},
		{"behind a compressed layer", func(l layout, m object) {
			z := append(gzipped(data), 0, 0)
			zz := append(gzipped(data), 0, 1)
			packed := l.image(t, "amd64", z)
			l["blobs/sha256/"+sha(z)] = zz
			l.index(t, packed)
		}, disk.ErrCorrupt},
		{"digest leads out", func(l layout, m object) { l.index(t, with(m, "digest", "sha256:../../../etc/passwd")) }, ErrSyntax},
		{"digest with other letters", func(l layout, m object) { l.index(t, with(m, "digest", strings.ToUpper(m["digest"].(string)))) }, disk.ErrUnsupported},
		{"digest unknown", func(l layout, m object) { l.index(t, with(m, "digest", "md5:00")) }, disk.ErrUnsupported},
		{"negative size", func(l layout, m object) { l.index(t, with(m, "size", -1)) }, ErrSyntax},
		{"wrong size", func(l layout, m object) { l.index(t, with(m, "size", 7)) }, ErrDigest},
		{"media type", func(l layout, m object) { l.index(t, with(m, "mediaType", "text/plain")) }, disk.ErrUnsupported},
		{"no layer of files", func(l layout, m object) {
			l.index(t, l.putJSON(t, typeOCIManifest, object{"schemaVersion": 2, "layers": []object{l.put("application/vnd.wasm.content.layer.v1+wasm", data)}}))
		}, ErrLayer},
		{"encrypted", func(l layout, m object) {
			l.index(t, l.putJSON(t, typeOCIManifest, object{"schemaVersion": 2, "layers": []object{l.put("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", data)}}))
		}, ErrLayer},
		{"old manifest", func(l layout, m object) {
			l.index(t, l.putJSON(t, typeDockerManifest, object{"schemaVersion": 1}))
		}, disk.ErrUnsupported},
		{"many layers", func(l layout, m object) {
			d := l.put("application/vnd.oci.image.layer.v1.tar", data)
			l.index(t, l.putJSON(t, typeDockerManifest, object{"schemaVersion": 2, "layers": slices.Repeat([]object{d}, maxLayers+1)}))
		}, ErrTooMany},
	} {
		l := layout{}
		m := l.image(t, "amd64", data)
		l.index(t, m)
		tt.damage(l, m)
		for _, path := range []string{l.dir(t), l.tar(t)} {
			temp := t.TempDir()
			if _, err := Load(context.Background(), Options{TempDir: temp}, OCI(path, "")); !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			}
			if list, err := os.ReadDir(temp); len(list) > 0 || err != nil {
				t.Errorf("%s: %v, %v left", tt.name, list, err)
			}
		}
	}
}

// docker makes a docker archive of layers.
func (l layout) docker(t testing.TB, tags []string, arch string, layers ...[]byte) object {
	t.Helper()
	var sums, paths []string
	for _, b := range layers {
		l[sha(b)+"/layer.tar"] = b
		plain := b
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			plain, _ = io.ReadAll(z)
		}
		sums, paths = append(sums, "sha256:"+sha(plain)), append(paths, sha(b)+"/layer.tar")
	}
	config, err := json.Marshal(object{"os": "linux", "architecture": arch, "rootfs": object{"type": "layers", "diff_ids": sums}})
	if err != nil {
		t.Fatal(err)
	}
	l[sha(config)+".json"] = config
	return object{"Config": sha(config) + ".json", "RepoTags": tags, "Layers": paths}
}

func TestFromDocker(t *testing.T) {
	a, b := tarOf(t, tar.Header{Name: "a"}, tar.Header{Name: "gone"}), gzipped(tarOf(t, tar.Header{Name: "b"}, tar.Header{Name: ".wh.gone"}))
	l := layout{}
	one := l.docker(t, []string{"alpine:3.20", "ghcr.io/x/y:latest"}, "amd64", a, b)
	two := l.docker(t, []string{"alpine:3.21"}, "amd64", a)
	arm := l.docker(t, []string{"alpine:3.21"}, "arm64", b)
	for _, tt := range []struct {
		name     string
		images   []object
		tag      string
		platform string
		want     string
		err      error
		text     string
	}{
		{"only one", []object{one}, "", "", "a = a|b = b", nil, ""},
		{"name", []object{one, two}, "alpine:3.20", "", "a = a|b = b", nil, ""},
		{"tag", []object{one, two}, "3.21", "", "a = a|gone = gone", nil, ""},
		{"short name", []object{one, two}, "y", "", "a = a|b = b", nil, ""},
		{"name without latest", []object{one, two}, "ghcr.io/x/y", "", "a = a|b = b", nil, ""},
		{"which", []object{one, two}, "", "", "", ErrManyImages, "alpine:3.20, alpine:3.21"},
		{"no such", []object{one, two}, "debian", "", "", ErrNoImage, "alpine:3.20, alpine:3.21"},
		{"platforms", []object{two, arm}, "alpine:3.21", "linux/arm64", "b = b", nil, ""},
		{"no such platform", []object{two, arm}, "alpine:3.21", "linux/s390x", "", ErrNoImage, "linux/arm64"},
		{"none", nil, "", "", "", ErrNoImage, ""},
	} {
		l.json(t, "manifest.json", tt.images)
		check := func(kind string, s Source) {
			x, err := Load(context.Background(), Options{Platform: cmpOr(tt.platform, "linux/amd64")}, s)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%s, %s: %v, want %v", tt.name, kind, err, tt.err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%s: %v: does not tell of %q", tt.name, err, tt.text)
				}
				return
			}
			defer x.Close()
			if got := names(t, x); got != tt.want {
				t.Errorf("%s, %s: %s, want %s", tt.name, kind, got, tt.want)
			}
		}
		check("directory", Docker(l.dir(t), tt.tag))
		check("archive", Docker(l.tar(t), tt.tag))
		check("stream", DockerReader(stream{bytes.NewReader(l.stream(t))}, tt.tag))
		check("compressed", DockerReader(bytes.NewReader(gzipped(l.stream(t))), tt.tag))
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestFromDocker_odd: links between layers, an image layout in place of it, and
// what is damaged.
func TestFromDocker_odd(t *testing.T) {
	a := tarOf(t, tar.Header{Name: "a"})
	fresh := func() (layout, object) {
		l := layout{}
		m := l.docker(t, nil, "amd64", a)
		l.json(t, "manifest.json", []object{m})
		return l, m
	}
	l, m := fresh()
	l["other/layer.tar"] = []byte("link:../" + m["Layers"].([]string)[0])
	m["Layers"] = []string{"other/layer.tar"}
	l.json(t, "manifest.json", []object{m})
	if got := names(t, loadAll(t, Options{}, Docker(l.tar(t), ""))); got != "a = a" {
		t.Error(got)
	}
	o := layout{}
	o.index(t, o.image(t, "amd64", a))
	if got := names(t, loadAll(t, Options{}, Docker(o.tar(t), ""))); got != "a = a" {
		t.Error(got)
	}
	for _, tt := range []struct {
		name   string
		damage func(l layout, m object)
		err    error
	}{
		{"no manifest", func(l layout, m object) { delete(l, "manifest.json") }, fs.ErrNotExist},
		{"no configuration", func(l layout, m object) { delete(l, m["Config"].(string)) }, fs.ErrNotExist},
		{"configuration changed", func(l layout, m object) { l[m["Config"].(string)] = []byte(`{}`) }, ErrDigest},
		{"layer changed", func(l layout, m object) { l[m["Layers"].([]string)[0]] = tarOf(t, tar.Header{Name: "b"}) }, ErrDigest},
		{"layer is compressed otherwise", func(l layout, m object) { l[m["Layers"].([]string)[0]] = gzipped(a) }, nil},
		{"layer leads out", func(l layout, m object) {
			m["Layers"] = []string{"../../../etc/passwd"}
			l.json(t, "manifest.json", []object{m})
		}, nil},
		{"a circle", func(l layout, m object) { l[m["Layers"].([]string)[0]] = []byte("link:layer.tar") }, ErrLoop},
		{"more layers than digests", func(l layout, m object) {
			m["Layers"] = append(m["Layers"].([]string), m["Layers"].([]string)...)
			l.json(t, "manifest.json", []object{m})
		}, disk.ErrCorrupt},
	} {
		l, m := fresh()
		tt.damage(l, m)
		_, err := Load(context.Background(), Options{}, Docker(l.tar(t), ""))
		switch {
		case tt.name == "layer leads out" && err == nil, tt.err != nil && !errors.Is(err, tt.err),
			tt.err == nil && tt.name != "layer leads out" && err != nil:
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// open makes a layout what images are read from.
func (l layout) open(name string) (*blob, error) {
	b, ok := l[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &blob{r: bytes.NewReader(b), size: int64(len(b))}, nil
}

// FuzzFromOCI: whatever the descriptions say, there is no panic and no hang.
func FuzzFromOCI(f *testing.F) {
	l := layout{}
	m := l.image(f, "amd64", gzipped(tarOf(f, tar.Header{Name: "a"})))
	l.index(f, tagged(m, "a"), on(m, "linux", "arm64", "v8"))
	manifest := l["blobs/sha256/"+m["digest"].(string)[7:]]
	f.Add(l["index.json"], manifest, "a", "linux/amd64")
	f.Add([]byte(`{"manifests":[{}]}`), []byte(`{"schemaVersion":2,"layers":[{}]}`), "", "arm/v7")
	f.Fuzz(func(t *testing.T, index, manifest []byte, tag, platform string) {
		l := layout{"oci-layout": []byte(`{"imageLayoutVersion": "1.0.0"}`), "index.json": index, "manifest.json": index, "config": manifest}
		d := l.put(typeOCIManifest, manifest)
		for range 2 {
			x := New()
			o := &Options{Platform: platform, MaxBytes: 1 << 20}
			fromOCI(context.Background(), x, Root, l, tag, o)
			fromDocker(context.Background(), x, Root, l, tag, o)
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			l.index(t, d) // again with an index that leads to the manifest
		}
	})
}
