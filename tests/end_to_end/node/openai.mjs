// The official openai SDK asks for one model of each case, and prints what it made of the answers
// as one JSON object. Usage: node openai.mjs BASE_URL PROVIDER_DIALECT, with the key in KEY.
import OpenAI from "openai";

const [, , base, provider] = process.argv;
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: process.env.KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];
const model = (name) => `${provider}-${name}`;

const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, unit: { enum: ["celsius", "kelvin"] } },
  required: ["city"],
};
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  function: { name, description: name, parameters },
}));

const chat = (name, more = {}) =>
  client.chat.completions.create({ model: model(name), messages, ...more });
const streamed = (name, more = {}) =>
  client.chat.completions.stream({ model: model(name), messages, ...more });
const calls = (message) =>
  message.tool_calls.map((call) => [
    call.id,
    call.function.name,
    JSON.parse(call.function.arguments),
  ]);
const spent = (usage) => [
  usage.prompt_tokens,
  usage.prompt_tokens_details.cached_tokens,
  usage.completion_tokens,
];

const cases = {
  async text() {
    const { data, response } = await chat("text").withResponse();
    const [choice] = data.choices;
    return {
      text: choice.message.content,
      finish: choice.finish_reason,
      usage: spent(data.usage),
      answered: response.headers.get("x-fairlead-model"),
      identified: data._request_id === response.headers.get("x-request-id"),
    };
  },

  async textStreamed() {
    const chunks = [];
    const options = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await chat("text", options)) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    return {
      text: choices.map((choice) => choice.delta.content ?? "").join(""),
      finish: choices.map((choice) => choice.finish_reason).filter(Boolean),
      usage: chunks.filter((chunk) => chunk.usage).map((chunk) => spent(chunk.usage)),
    };
  },

  async length() {
    return (await chat("length", { max_tokens: 10 })).choices[0].finish_reason;
  },

  async tools() {
    const [choice] = (await chat("tools", { tools })).choices;
    return { calls: calls(choice.message), finish: choice.finish_reason };
  },

  async toolsStreamed() {
    const [choice] = (await streamed("tools", { tools }).finalChatCompletion()).choices;
    return { calls: calls(choice.message), finish: choice.finish_reason };
  },

  async toolResults() {
    const [{ message }] = (await chat("tools", { tools })).choices;
    const results = message.tool_calls.map((call) => ({
      role: "tool",
      tool_call_id: call.id,
      content: `result of ${call.function.name}`,
    }));
    const answer = await chat("text", { tools, messages: [...messages, message, ...results] });
    return answer.choices[0].message.content;
  },

  async jsonSchema() {
    const response_format = {
      type: "json_schema",
      json_schema: { name: "person", strict: true, schema },
    };
    return JSON.parse((await chat("json", { response_format })).choices[0].message.content);
  },

  async thinking() {
    const chunks = [];
    const options = { stream: true, reasoning_effort: "high" };
    for await (const chunk of await chat("thinking", options)) chunks.push(chunk.choices[0].delta);
    return {
      thought: chunks.map((delta) => delta.reasoning_content ?? "").join(""),
      text: chunks.map((delta) => delta.content ?? "").join(""),
    };
  },

  async models() {
    const names = [];
    for await (const each of client.models.list()) names.push(each.id);
    return names;
  },

  async leaves() {
    const stream = await chat("text", { stream: true });
    for await (const chunk of stream) return chunk.object;
  },

  unknownModel: () => told(client.chat.completions.create({ model: "no-such-model", messages })),
  badRequest: () => told(chat("text", { messages: "Hello" })),
  wrongKey: () => told(client.withOptions({ apiKey: "wrong" }).models.list()),
  brokenStream: () => told(streamed("broken").finalChatCompletion()),
};

if (provider === "openai_chat")
  cases.embeddings = async () => {
    const answer = await client.embeddings.create({ model: model("embed"), input: ["a", "b"] });
    return answer.data.map((item) => item.embedding);
  };

async function told(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    const { status, code, type, message } = error;
    return { error: error.constructor.name, status, code, type, message };
  }
}

const results = {};
for (const [name, run] of Object.entries(cases)) results[name] = await run();
console.log(JSON.stringify(results));
