// Opens the notes, checkpoints and tiles of a Watchkeeper ledger with golang.org/x/mod/sumdb, and makes notes and proofs
// with it that the Rust test opens. A test, not a tool; see ../go.rs.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "ledger":
		err = checkLedger(out, os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "open":
		err = openNotes(out, os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "sign":
		err = signNotes(out, os.Args[2])
	default:
		err = errors.New("usage: peers ledger DIR VKEY | open VKEY | sign SKEY")
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// checkLedger verifies every checkpoint, every entry against its tile, and an inclusion and a consistency proof for each size,
// through the hash reader that authenticates tiles. It prints the proofs.
func checkLedger(out *bufio.Writer, dir, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	open := func(signed []byte) (tlog.Tree, error) {
		opened, err := note.Open(signed, note.VerifierList(verifier))
		if err != nil {
			return tlog.Tree{}, err
		}
		// The text of tlog.FormatTree has a first line of its own; the rest is the same.
		text := "go.sum database tree\n" + strings.SplitN(opened.Text, "\n", 2)[1]
		return tlog.ParseTree([]byte(text))
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(signed)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	reader := tlog.TileHashReader(tree, tiles{dir})
	entries, err := readEntries(dir, tree.N)
	if err != nil {
		return err
	}
	for index, entry := range entries {
		n := int64(index)
		proof, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		fmt.Fprintln(out, "inclusion", n, join(proof))
	}
	history, err := os.ReadFile(filepath.Join(dir, "checkpoints"))
	if err != nil {
		return err
	}
	blocks := strings.SplitAfter(string(history), "\n\n")
	for at := 0; at+1 < len(blocks); at += 2 {
		old, err := open([]byte(strings.TrimSuffix(blocks[at]+blocks[at+1], "\n")))
		if err != nil {
			return fmt.Errorf("checkpoints, note %d: %w", at/2, err)
		}
		proof, err := tlog.ProveTree(tree.N, old.N, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return fmt.Errorf("checkpoint of %d: %w", old.N, err)
		}
		fmt.Fprintln(out, "consistency", old.N, join(proof))
	}
	return nil
}

func join(hashes []tlog.Hash) string {
	var texts []string
	for _, hash := range hashes {
		texts = append(texts, hash.String())
	}
	return strings.Join(texts, " ")
}

func readEntries(dir string, size int64) ([][]byte, error) {
	var entries [][]byte
	for bundle := int64(0); bundle*256 < size; bundle++ {
		width := 256
		if size-bundle*256 < 256 {
			width = int(size - bundle*256)
		}
		data, err := os.ReadFile(filepath.Join(dir, path(tlog.Tile{H: 8, L: -1, N: bundle, W: width})))
		if err != nil {
			return nil, err
		}
		for len(data) > 0 {
			length := int(binary.BigEndian.Uint16(data))
			entries = append(entries, data[2:2+length])
			data = data[2+length:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("%d entries for a tree of %d", len(entries), size)
	}
	return entries, nil
}

// tiles reads the tiles of a directory; tlog-tiles leaves out the height that x/mod has in its paths.
type tiles struct{ dir string }

func path(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range list {
		data, err := os.ReadFile(filepath.Join(t.dir, path(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// openNotes says of each note (one a line, in base64) whether it is good.
func openNotes(out *bufio.Writer, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	return eachLine(func(text []byte) error {
		_, err := note.Open(text, note.VerifierList(verifier))
		fmt.Fprintln(out, err == nil)
		return nil
	})
}

// signNotes signs each text (one a line, in base64).
func signNotes(out *bufio.Writer, skey string) error {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	return eachLine(func(text []byte) error {
		signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, base64.StdEncoding.EncodeToString(signed))
		return nil
	})
}

func eachLine(visit func([]byte) error) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		text, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		if err := visit(text); err != nil {
			return err
		}
	}
	return lines.Err()
}
