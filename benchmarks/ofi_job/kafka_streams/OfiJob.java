import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Properties;
import java.util.function.Function;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The job on Kafka Streams: Processor API, one thread, a store with its cache and its changelog on, a state of fixed
 * width instead of JSON.
 *
 * <p>The usual way: Jackson binds a value to a class, whose fields are then checked, and the store is the default one,
 * RocksDB. Tuned: Jackson's streaming parser compares each field with the contract as it passes, and the store is in
 * memory.
 */
public final class OfiJob {
    static final long BUCKET_NS = 10_000_000_000L;
    static final long SILENT_BUCKETS_MAX = 1_000;
    static final long LIMIT = 1L << 53;
    static final List<String> SOURCES = List.of("synthetic", "lobster", "binance", "ibkr");
    static final JsonFactory JSON = new JsonFactory();

    /** A quote that fits the contract. */
    static final class Quote {
        int source = -1;
        String instrument;
        long tsEvent, tsIngest, bid, bidLots, ask, askLots;
    }

    /** A quote as Jackson binds it; all fields are required. */
    record Bound(
            int schema_version, String type, String source, String instrument, long seq, long ts_event_ns,
            long ts_ingest_ns, long bid_ticks, long bid_lots, long ask_ticks, long ask_lots) {}

    static final ObjectReader BINDER = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
            .build()
            .readerFor(Bound.class);

    /** The quote in a value by data binding, or null when it breaks the contract in any way. */
    static Quote bind(byte[] value) {
        try {
            Bound b = BINDER.readValue(value);
            boolean fits = b.schema_version == 1 && "quote".equals(b.type) && SOURCES.contains(b.source)
                    && b.instrument != null && isInstrument(b.instrument)
                    && b.seq >= 0 && b.ts_event_ns >= 0 && b.ts_ingest_ns >= 0
                    && b.bid_ticks > 0 && b.bid_ticks < LIMIT && b.bid_lots >= 0 && b.bid_lots < LIMIT
                    && b.ask_ticks > 0 && b.ask_ticks < LIMIT && b.ask_lots >= 0 && b.ask_lots < LIMIT;
            if (!fits) {
                return null;
            }
            Quote q = new Quote();
            q.source = SOURCES.indexOf(b.source);
            q.instrument = b.instrument;
            q.tsEvent = b.ts_event_ns;
            q.tsIngest = b.ts_ingest_ns;
            q.bid = b.bid_ticks;
            q.bidLots = b.bid_lots;
            q.ask = b.ask_ticks;
            q.askLots = b.ask_lots;
            return q;
        } catch (IOException error) {
            return null;
        }
    }

    /** The last quote and the sums of the open bucket. */
    static final class State {
        static final int BYTES = 11 * Long.BYTES + 1;
        int source;
        long bucket, bid, bidLots, ask, askLots, midOpen, ofi, depthSum, changes, trade, events;

        static byte[] write(State s) {
            return ByteBuffer.allocate(BYTES)
                    .put((byte) s.source)
                    .putLong(s.bucket).putLong(s.bid).putLong(s.bidLots).putLong(s.ask).putLong(s.askLots)
                    .putLong(s.midOpen).putLong(s.ofi).putLong(s.depthSum).putLong(s.changes).putLong(s.trade)
                    .putLong(s.events)
                    .array();
        }

        static State read(byte[] bytes) {
            if (bytes == null) {
                return null;
            }
            ByteBuffer b = ByteBuffer.wrap(bytes);
            State s = new State();
            s.source = b.get();
            s.bucket = b.getLong();
            s.bid = b.getLong();
            s.bidLots = b.getLong();
            s.ask = b.getLong();
            s.askLots = b.getLong();
            s.midOpen = b.getLong();
            s.ofi = b.getLong();
            s.depthSum = b.getLong();
            s.changes = b.getLong();
            s.trade = b.getLong();
            s.events = b.getLong();
            return s;
        }
    }

    /** The quote in a value, or null when it breaks the contract in any way. */
    static Quote parse(byte[] value) {
        Quote q = new Quote();
        int seen = 0;
        try (JsonParser p = JSON.createParser(value)) {
            if (p.nextToken() != JsonToken.START_OBJECT) {
                return null;
            }
            for (JsonToken token = p.nextToken(); token == JsonToken.FIELD_NAME; token = p.nextToken()) {
                String name = p.currentName();
                JsonToken kind = p.nextToken();
                switch (name) {
                    case "type" -> seen |= text(p, kind).equals("quote") ? 1 : 0;
                    case "schema_version" -> seen |= whole(p, kind, 1, 2) == 1 ? 2 : 0;
                    case "source" -> {
                        q.source = SOURCES.indexOf(text(p, kind));
                        seen |= q.source >= 0 ? 4 : 0;
                    }
                    case "instrument" -> {
                        q.instrument = text(p, kind);
                        seen |= isInstrument(q.instrument) ? 8 : 0;
                    }
                    case "seq" -> seen |= whole(p, kind, 0, Long.MAX_VALUE) >= 0 ? 16 : 0;
                    case "ts_event_ns" -> seen |= (q.tsEvent = whole(p, kind, 0, Long.MAX_VALUE)) >= 0 ? 32 : 0;
                    case "ts_ingest_ns" -> seen |= (q.tsIngest = whole(p, kind, 0, Long.MAX_VALUE)) >= 0 ? 64 : 0;
                    case "bid_ticks" -> seen |= (q.bid = whole(p, kind, 1, LIMIT)) >= 0 ? 128 : 0;
                    case "bid_lots" -> seen |= (q.bidLots = whole(p, kind, 0, LIMIT)) >= 0 ? 256 : 0;
                    case "ask_ticks" -> seen |= (q.ask = whole(p, kind, 1, LIMIT)) >= 0 ? 512 : 0;
                    case "ask_lots" -> seen |= (q.askLots = whole(p, kind, 0, LIMIT)) >= 0 ? 1024 : 0;
                    default -> {
                        return null;
                    }
                }
            }
            return seen == 2047 && p.currentToken() == JsonToken.END_OBJECT && p.nextToken() == null ? q : null;
        } catch (IOException error) {
            return null;
        }
    }

    static String text(JsonParser p, JsonToken kind) throws IOException {
        return kind == JsonToken.VALUE_STRING ? p.getText() : "";
    }

    /** The whole number from low up to, not including, high; -1 for anything else. */
    static long whole(JsonParser p, JsonToken kind, long low, long high) throws IOException {
        if (kind != JsonToken.VALUE_NUMBER_INT) {
            return -1;
        }
        long number = p.getLongValue();
        return low <= number && number < high ? number : -1;
    }

    static boolean isInstrument(String name) {
        if (name.isEmpty() || name.length() > 32) {
            return false;
        }
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (!(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.')) {
                return false;
            }
        }
        return true;
    }

    /** One quote into the row of its instrument. */
    static final class Ofi implements Processor<byte[], byte[], byte[], byte[]> {
        private final Function<byte[], Quote> reader;
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<String, State> rows;

        Ofi(Function<byte[], Quote> reader) {
            this.reader = reader;
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            this.rows = context.getStateStore("ofi");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            Quote q = reader.apply(record.value());
            if (q == null) {
                return;
            }
            State s = rows.get(q.instrument);
            long bucket = Math.ceilDiv(q.tsEvent, BUCKET_NS);
            if (s != null && bucket > s.bucket) {
                s = close(s, bucket, q, record);
            }
            if (s == null || s.source != q.source) {
                s = new State();
                s.source = q.source;
                s.bucket = bucket;
                s.midOpen = q.bid + q.ask;
            } else {
                s.ofi += (q.bid >= s.bid ? q.bidLots : 0) - (q.bid <= s.bid ? s.bidLots : 0)
                        - (q.ask <= s.ask ? q.askLots : 0) + (q.ask >= s.ask ? s.askLots : 0);
                if (q.bid != s.bid || q.bidLots != s.bidLots || q.ask != s.ask || q.askLots != s.askLots) {
                    s.depthSum += q.bidLots + q.askLots;
                    s.changes++;
                }
                s.events++;
            }
            s.bid = q.bid;
            s.bidLots = q.bidLots;
            s.ask = q.ask;
            s.askLots = q.askLots;
            rows.put(q.instrument, s);
        }

        private State close(State s, long bucket, Quote q, Record<byte[], byte[]> record) {
            if (bucket - s.bucket > SILENT_BUCKETS_MAX) {
                return null;
            }
            while (s.bucket < bucket) {
                context.forward(record.withValue(event(s, q)));
                s.bucket++;
                s.midOpen = s.bid + s.ask;
                s.ofi = s.depthSum = s.changes = s.trade = s.events = 0;
            }
            return s;
        }
    }

    static byte[] event(State s, Quote q) {
        double depth = s.changes > 0 ? (double) s.depthSum / s.changes / 2 : (s.bidLots + s.askLots) / 2.0;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(512);
        try (JsonGenerator g = JSON.createGenerator(bytes)) {
            g.writeStartObject();
            g.writeNumberField("schema_version", 1);
            g.writeStringField("type", "ofi");
            g.writeStringField("source", SOURCES.get(s.source));
            g.writeStringField("instrument", q.instrument);
            g.writeNumberField("ts_event_ns", s.bucket * BUCKET_NS);
            g.writeNumberField("ts_ingest_ns", q.tsIngest);
            g.writeNumberField("bucket_ns", BUCKET_NS);
            g.writeNumberField("ofi_lots", s.ofi);
            g.writeNumberField("depth_lots", depth);
            g.writeNumberField("trade_lots", s.trade);
            g.writeNumberField("volume_lots", 0); // as above: quotes alone come in
            g.writeNumberField("events", s.events);
            g.writeNumberField("mid_open_half_ticks", s.midOpen);
            g.writeNumberField("mid_close_half_ticks", s.bid + s.ask);
            g.writeNumberField("bid_ticks", s.bid);
            g.writeNumberField("ask_ticks", s.ask);
            g.writeBooleanField("halted", false);
            g.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return bytes.toByteArray();
    }

    /** Arguments: bootstrap servers, input topic, output topic, application id, state folder, usual or tuned, threads. */
    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(arguments[6]));
        settings.put("auto.offset.reset", "earliest");
        Serde<State> serde = Serdes.serdeFrom((topic, s) -> State.write(s), (topic, bytes) -> State.read(bytes));
        boolean tuned = arguments[5].equals("tuned");
        Function<byte[], Quote> reader = tuned ? OfiJob::parse : OfiJob::bind;
        KeyValueBytesStoreSupplier store =
                tuned ? Stores.inMemoryKeyValueStore("ofi") : Stores.persistentKeyValueStore("ofi");
        Topology topology = new Topology();
        topology.addSource("quotes", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), arguments[1])
                .addProcessor("ofi", () -> new Ofi(reader), "quotes")
                .addStateStore(
                        Stores.keyValueStoreBuilder(store, Serdes.String(), serde).withCachingEnabled(),
                        "ofi")
                .addSink("events", arguments[2], Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "ofi");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
