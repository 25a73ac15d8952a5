// Package dump shows the structures of an ext4 image as they lie there: exact
// and complete, as values that are marshalled to JSON and written as text.
//
// Open makes an Image. Its methods return one value per structure (Super,
// Group, Inode, Block, Bitmap, Extents, ...) or, where there may be many, a
// sequence of them (Groups, Dir, Htree, Journal, Scan). Every value has JSON
// tags with stable names and a method WriteText, which is made from the same
// fields: a field without a text label does not exist in JSON either, but for
// "type", which tells the values of a sequence apart, and raw bytes.
//
// # Damage
//
// An Image opens with checksums ignored and shows of every checksum whether it
// is good, bad or not kept. Where the journal cannot be replayed, the image is
// shown as it lies there; where the geometry is impossible, only the superblock
// and raw blocks are to be had; Notes tells. What is wrong inside a structure
// stands in its Problems, and the rest of it follows. Nothing here trusts a
// byte of the image.
//
// An Image is safe for concurrent use.
package dump
