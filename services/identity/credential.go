package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

type passwordConfig struct {
	Hash string `json:"hashed_password"`
}

// PasswordConfig is the config of a credential that is a password: {"hashed_password": hash}.
func PasswordConfig(hash string) json.RawMessage {
	config, err := json.Marshal(passwordConfig{hash})
	if err != nil {
		panic(err) // no text is no JSON
	}
	return config
}

// PasswordHash reads the hash off the config of a password; it is empty where none is
// set. The error quotes nothing of the config.
func PasswordHash(config json.RawMessage) (string, error) {
	var c passwordConfig
	if json.Unmarshal(config, &c) != nil { // its error may quote the hash
		return "", errors.New("stored password is not the JSON of one")
	}
	return c.Hash, nil
}

// Object gives traits that were left out as the empty object that they count as.
func Object(traits json.RawMessage) json.RawMessage {
	if text := bytes.TrimSpace(traits); len(text) == 0 || string(text) == "null" {
		return json.RawMessage("{}")
	}
	return traits
}

// SameSet tells whether a and b are the same texts, in whatever order.
func SameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
