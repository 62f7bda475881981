// Nodemailer's pool as a peer: reads a count per line, submits that many mails, prints the seconds it took.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import nodemailer from "nodemailer";

const given = JSON.parse(process.argv[2]);
const options = {
  host: given.host,
  port: given.port,
  pool: true,
  maxConnections: given.connections,
  maxMessages: Infinity,
  secure: false,
  ignoreTLS: !given.cafile,
  requireTLS: Boolean(given.cafile),
};
if (given.cafile) {
  options.tls = { ca: readFileSync(given.cafile), servername: "localhost" };
  options.auth = { user: given.user, pass: given.pass };
}
const transport = nodemailer.createTransport(options);
const mail = () => ({ from: given.from, to: given.to, subject: "Your order", text: given.text });

for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now();
  await Promise.all(Array.from({ length: Number(line) }, () => transport.sendMail(mail())));
  console.log(String((performance.now() - began) / 1000));
}
