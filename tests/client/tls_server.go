// An HTTPS server of Go's that wants a client certificate: `go-server TLS PORT PORT`, TLS 1.2 and 1.3.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
)

func main() {
	folder := os.Args[1]
	authorities := x509.NewCertPool()
	pem, _ := os.ReadFile(folder + "/ca.pem")
	authorities.AppendCertsFromPEM(pem)
	answer := http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) { to.Write([]byte("ok")) })
	for index, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := &http.Server{
			Addr:    "127.0.0.1:" + os.Args[2+index],
			Handler: answer,
			TLSConfig: &tls.Config{
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
				MinVersion: version, MaxVersion: version,
			},
		}
		go server.ListenAndServeTLS(folder+"/server.pem", folder+"/server.key")
	}
	select {}
}
