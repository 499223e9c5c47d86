// Package breached keeps passwords that are known from breaches in a local file, and
// tells whether one is among them. Nothing is asked of the network.
//
// The file has a header of 64 bytes and then the digests, all numbers big-endian:
//
//	 0  8  "usherpw1": what it is, and the version of this form
//	 8  8  "sha1" and four zero bytes: what the digests are made with
//	16  4  how many bytes of each digest are kept, 4 to 8
//	20  4  zero
//	24  8  how many digests there are
//	32 32  SHA-256 of the digests
//	64  …  the first bytes of SHA-1 of each password as it is typed, ascending, each once
//
// A password that is not in the set is taken for one of it as often as its digest begins
// like one of n others by chance: n ÷ 256^bytes. With 8 bytes and a thousand million
// passwords that is one of 18 thousand million, with 6 bytes one of 280 thousand.
package breached
