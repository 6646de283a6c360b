// One chat call with Java's own HTTP client and TLS: KEY MODEL MODE.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

class HttpsCall {
    public static void main(String[] arguments) throws Exception {
        System.out.println(ProcessHandle.current().pid());
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream file = new FileInputStream(System.getenv("SSL_CERT_FILE"))) {
            store.setCertificateEntry("test", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        String message = "{\"role\":\"user\",\"content\":\"PROMPT-CANARY-51c9\"}";
        String body = "{\"model\":\"" + arguments[1] + "\",\"messages\":[" + message + "]}";
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://api.openai.com/v1/chat/completions"))
            .header("content-type", "application/json")
            .header("authorization", "Bearer " + arguments[0])
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpClient client = HttpClient.newBuilder().sslContext(context).build();
        int status = client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode();
        System.exit(status == 200 ? 0 : 1);
    }
}
