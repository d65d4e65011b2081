package example;

import com.google.protobuf.util.Timestamps;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.crypto.ECDSAVerifier;
import com.nimbusds.jose.jwk.ECKey;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import watchbell.v1.DecisionOuterClass.Decided;
import watchbell.v1.DecisionOuterClass.Decision;
import watchbell.v1.DecisionOuterClass.Verb;
import watchbell.v1.EventOuterClass.Event;
import watchbell.v1.EventOuterClass.IdentityVerificationRequested;
import watchbell.v1.Types.NotificationType;

/** Asks a person whether a sign-in is theirs, and waits for what became of it. */
public final class Ask {
  public static void main(String[] args) throws Exception {
    String kafka = args[0], audience = args[1], workspace = args[2], user = args[3];
    String number = String.format("%06d", new SecureRandom().nextInt(1_000_000));
    long now = System.currentTimeMillis();
    Event event =
        Event.newBuilder()
            .setEventId(UUID.randomUUID().toString())
            .setWorkspaceId(workspace)
            .addRecipients(user)
            .setOccurredAt(Timestamps.fromMillis(now))
            .setExpiresAt(Timestamps.fromMillis(now + 120_000))
            .setIdentityVerificationRequested(
                IdentityVerificationRequested.newBuilder()
                    .setApplication("Payroll")
                    .setDevice("Firefox on Windows")
                    .setLocation("Lisbon, Portugal")
                    .setMatchNumber(number)
                    .setSource("browser-7")
                    .setNewLocation(true))
            .build();

    // A service has one consumer for all its sign-ins, in a group of its own.
    Properties reads = new Properties();
    reads.putAll(Map.of("bootstrap.servers", kafka, "group.id", "payroll-java", "auto.offset.reset", "earliest"));
    Properties writes = new Properties();
    writes.putAll(Map.of("bootstrap.servers", kafka, "acks", "all"));
    try (var consumer = new KafkaConsumer<>(reads, new StringDeserializer(), new ByteArrayDeserializer());
        var producer = new KafkaProducer<>(writes, new StringSerializer(), new ByteArraySerializer())) {
      consumer.subscribe(List.of("watchbell.decisions"));
      producer.send(new ProducerRecord<>("identity-verification", user, event.toByteArray())).get();
      System.out.println("the sign-in page shows " + number);
      var seen = new HashSet<String>();
      while (true) {
        for (var record : consumer.poll(Duration.ofSeconds(1))) {
          Decision decision = Decision.parseFrom(record.value());
          // What was asked, and whom. An event's id alone says neither: another workspace, or another type, may use the same one.
          boolean asked =
              decision.getWorkspaceId().equals(workspace)
                  && decision.getType() == NotificationType.NOTIFICATION_TYPE_IDENTITY_VERIFICATION
                  && decision.getEventId().equals(event.getEventId())
                  && decision.getUserId().equals(user);
          if (!asked || !seen.add(decision.getDecisionId())) continue;
          switch (decision.getBodyCase()) {
            case ASKED -> System.out.println("check one of " + decision.getAsked().getDevicesList());
            case NOTICE -> System.out.println("it did not ring: " + decision.getNotice().getKind());
            case DECIDED -> {
              Decided decided = decision.getDecided();
              try {
                check(decision, decided, audience);
              } catch (Exception why) { // whatever is wrong with it: it lets nobody in
                System.out.println("refused: " + why);
                continue;
              }
              System.out.println(decided.getVerb() + " signed by " + decided.getKeyThumbprint());
              return;
            }
            case CLOSED -> {
              System.out.println(decision.getClosed().getReason());
              return;
            }
            case BODY_NOT_SET -> {}
          }
        }
      }
    }
  }

  /** Throws, unless the person's own device signed just this answer. */
  private static void check(Decision decision, Decided decided, String audience) throws Exception {
    // Three wrong numbers deny by themselves. Nothing else comes without a statement, an approval least of all.
    if (decided.getVerb() == Verb.VERB_DENY && decided.getJws().isEmpty()) return;
    ECKey key = ECKey.parse(decided.getKeyJwk());
    JWSObject signed = JWSObject.parse(decided.getJws());
    String verb = decided.getVerb().name().substring("VERB_".length()).toLowerCase();
    Map<String, Object> said = signed.getPayload().toJSONObject();
    boolean right =
        key.computeThumbprint().toString().equals(decided.getKeyThumbprint())
            && JWSAlgorithm.ES256.equals(signed.getHeader().getAlgorithm())
            && signed.verify(new ECDSAVerifier(key))
            && signed.getHeader().getType().toString().equals("watchbell-decision+jwt")
            && audience.equals(said.get("aud"))
            && decision.getWorkspaceId().equals(said.get("workspace"))
            && decision.getUserId().equals(said.get("user"))
            && "identity_verification".equals(said.get("type"))
            && decision.getEventId().equals(said.get("event"))
            && verb.equals(said.get("verb"));
    if (!right) throw new SecurityException("not the person's own answer to this");
  }
}
