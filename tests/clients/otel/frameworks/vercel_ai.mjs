// Vercel's AI SDK with a tool and `experimental_telemetry`, exported by OpenTelemetry's Node SDK.

import { createOpenAI } from "@ai-sdk/openai";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { generateText, stepCountIs, tool } from "ai";
import { z } from "zod";

const said = JSON.parse(process.env.CONVERSATION);
const sdk = new NodeSDK({ serviceName: "emitter-vercel-ai", traceExporter: new OTLPTraceExporter(), autoDetectResources: false });
sdk.start();
const openai = createOpenAI({ baseURL: process.env.MOCK_OPENAI_URL, apiKey: "sk-" + "not-a-real-key" });
const result = await generateText({
  model: openai.chat(said.model),
  system: said.system,
  prompt: said.question,
  maxRetries: 0,
  tools: {
    [said.tool]: tool({
      description: "The weather of a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async () => JSON.parse(said.result),
    }),
  },
  stopWhen: stepCountIs(3),
  experimental_telemetry: { isEnabled: true, functionId: "weather agent", metadata: { userId: said.user, sessionId: said.session } },
});
if (result.text !== said.answer) throw new Error(result.text);
await sdk.shutdown();
console.log(JSON.stringify({ ...said, service: "emitter-vercel-ai", agent: "weather agent" }));
