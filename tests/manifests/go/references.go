// Prints what manifests name as distribution would decode them: reads documents in base64, one a
// line, and writes an array of references for each.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

type descriptor struct {
	MediaType string   `json:"mediaType,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Digest    string   `json:"digest,omitempty"`
	URLs      []string `json:"urls,omitempty"`
}

type versioned struct {
	SchemaVersion int    `json:"schemaVersion"`
	MediaType     string `json:"mediaType,omitempty"`
}

// The fields of every kind, each as distribution and image-spec declare it.
type document struct {
	versioned
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
	Blobs     []descriptor `json:"blobs"`
	FSLayers  []struct {
		BlobSum string `json:"blobSum"`
	} `json:"fsLayers"`
	Subject *descriptor `json:"subject,omitempty"`
}

func references(text []byte) [][]any {
	found := [][]any{}
	var read document
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(text, &read); err != nil && !errors.As(err, &wrongType) {
		return found
	}
	add := func(role string, one descriptor) {
		if one.Digest != "" {
			elsewhere := len(one.URLs) > 0 || strings.Contains(one.MediaType, ".foreign.") ||
				strings.Contains(one.MediaType, ".nondistributable.")
			found = append(found, []any{role, one.Digest, one.MediaType, max(one.Size, 0), elsewhere})
		}
	}
	add("config", read.Config)
	for _, one := range read.Layers {
		add("layer", one)
	}
	for _, one := range read.Manifests {
		add("manifest", one)
	}
	for _, one := range read.Blobs {
		add("layer", one)
	}
	for _, one := range read.FSLayers {
		add("layer", descriptor{Digest: one.BlobSum, MediaType: "schema 1"})
	}
	if read.Subject != nil {
		add("subject", *read.Subject)
	}
	return found
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			panic(err)
		}
		shown, err := json.Marshal(references(text))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(shown))
	}
}
