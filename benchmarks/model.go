// A model of CDI's upload path, not CDI: a reverse proxy of Go's standard library that speaks mutual TLS with a server,
// which writes a raw image as it comes (32 KiB at a time, zeros skipped, fsync) and puts anything else into a scratch
// file that `qemu-img convert` reads. It says on its first line where it listens.
//
//	model proxy CERT KEY CLIENT_CERT CLIENT_KEY AUTHORITY URL HOST
//	model server CERT KEY AUTHORITY FOLDER
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	args := os.Args[2:]
	if os.Args[1] == "proxy" {
		serve(args[0], args[1], nil, proxy(args[2], args[3], authority(args[4]), args[5], args[6]))
	}
	serve(args[0], args[1], authority(args[2]), server(args[3]))
}

func serve(cert, key string, clients *x509.CertPool, handler http.Handler) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Printf("https://%s\n", listener.Addr())
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if clients != nil {
		config.ClientCAs, config.ClientAuth = clients, tls.RequireAndVerifyClientCert
	}
	served := &http.Server{Handler: handler, TLSConfig: config}
	log.Fatal(served.ServeTLS(listener, cert, key))
}

func proxy(cert, key string, servers *x509.CertPool, target, host string) http.Handler {
	pair, err := tls.LoadX509KeyPair(cert, key)
	check(err)
	place, err := url.Parse(target)
	check(err)
	found := httputil.NewSingleHostReverseProxy(place)
	found.Transport = &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: servers, ServerName: host,
	}}
	return found
}

func server(folder string) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if err := take(request.Body, folder); err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
		}
	})
}

func take(body io.Reader, folder string) error {
	head := make([]byte, 512)
	if _, err := io.ReadFull(body, head); err != nil {
		return err
	}
	image, disk := io.MultiReader(bytes.NewReader(head), body), filepath.Join(folder, "disk.img")
	if !bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return write(image, disk)
	}
	scratch := filepath.Join(folder, "tmpimage")
	if err := write(image, scratch); err != nil {
		return err
	}
	if err := exec.Command("qemu-img", "convert", "-t", "writeback", "-p", "-O", "raw", scratch, disk).Run(); err != nil {
		return err
	}
	file, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

func write(image io.Reader, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o660)
	if err != nil {
		return err
	}
	defer file.Close()
	buf, zeros, end := make([]byte, 32<<10), make([]byte, 32<<10), int64(0)
	for {
		count, err := io.ReadFull(image, buf)
		if count > 0 && !bytes.Equal(buf[:count], zeros[:count]) {
			if _, err := file.WriteAt(buf[:count], end); err != nil {
				return err
			}
		}
		end += int64(count)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		} else if err != nil {
			return err
		}
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	return file.Sync()
}

func authority(path string) *x509.CertPool {
	found, pem := x509.NewCertPool(), must(os.ReadFile(path))
	found.AppendCertsFromPEM(pem)
	return found
}

func must(content []byte, err error) []byte {
	check(err)
	return content
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
