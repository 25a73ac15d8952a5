package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkFromTar indexes 100,000 small files, plain and compressed, as GNU
// tar (ustar) and with a PAX header each.
func BenchmarkFromTar(b *testing.B) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		data := make([]byte, 3000)
		copy(data, "some data")
		for i := range 100_000 {
			h := &tar.Header{Name: fmt.Sprintf("usr/share/dir%03d/name%06d", i/200, i), Size: int64(len(data)), Mode: 0o644, ModTime: time.Unix(1700000000, 0), Format: format}
			if format == tar.FormatPAX {
				h.ModTime = time.Unix(1700000000, 123456789)
			}
			w.WriteHeader(h)
			w.Write(data)
		}
		w.Close()
		packed := gzipped(out.Bytes())
		fast := zstded(out.Bytes())
		for _, form := range []struct {
			name string
			data []byte
		}{{"plain", out.Bytes()}, {"gzip", packed}, {"zstd", fast}} {
			b.Run(fmt.Sprintf("%v/%s", format, form.name), func(b *testing.B) {
				b.SetBytes(int64(out.Len()))
				b.ReportAllocs()
				for b.Loop() {
					x, err := Load(context.Background(), Options{}, TarReader(bytes.NewReader(form.data)))
					if err != nil || x.Len() != 100_503 {
						b.Fatal(err, x.Len())
					}
					x.Close()
				}
			})
		}
	}
}
