// Package tree holds what a file system image is to hold: names, attributes,
// and where content comes from, gathered from directories of the host, fs.FS
// file systems, tar streams and container images, by rules: filters, owners,
// modes, times, device tables, SELinux labels. It knows nothing of ext4 but
// the numbers that files have there; package format lays a tree out.
//
//	t, err := tree.Load(ctx, tree.Options{}, tree.Dir("rootfs"), tree.Dir("overlay"))
//
// Content is not read before it is asked for, and then from where it was
// found: the sources must stay as they are until the tree is closed. A tree of
// a million files takes about 130 MiB.
//
// # Layers
//
// Each source is laid over what is there, see Load. Within a source a name
// leads to what came last.
//
// # Rules
//
// Filters judge the paths of a source before anything else (Options.Include,
// Glob). Owners are translated by the maps, then set; then come Chmod and the
// times. Device tables and labels are about the paths of the whole image and
// come last.
//
// # Directories of the host
//
// On Linux everything is kept: owners, times to the nanosecond, devices,
// sockets, hard links, holes, extended attributes with ACLs and capabilities
// (those of the trusted space only for root). Attributes in name spaces that
// ext4 does not have are told to Options.Warn. No symbolic link below the
// directory is followed, even if somebody swaps directories for links
// meanwhile. On other Unixes attributes, holes and ACLs are not read, on
// Windows owners and hard links neither; there os.Root keeps every access
// inside the directory. A file that cannot be read is an error.
package tree
