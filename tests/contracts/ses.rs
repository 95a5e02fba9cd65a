//! Mail through SES.

use mail_parser::{Message, MessageParser};
use shared::{
    access::TenantId,
    mail::{Letter, Mailer, SendError},
};

use super::{
    NOW,
    engine::{MAIL_EVENTS, SENDER, on_each},
};

fn letter() -> Letter {
    Letter {
        subject: "Your access to „Größe & Länge“ ends in 30 days, which makes a subject longer than a line".into(),
        text: format!(".a dot begins the line\r\nGröße & <b>\r\n{}", "long ".repeat(300)),
        html: "<p>Größe &amp; <b>mehr</b></p>".into(),
    }
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn read(raw: &str) -> Message<'_> {
    MessageParser::default().parse(raw).unwrap()
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    on_each(async |engine| {
        let mailer = Mailer::new(&engine.sdk, &format!("Tokenward <{SENDER}>"), MAIL_EVENTS).unwrap();
        let to = format!("{}@acme.example", engine.name("alice"));
        mailer.send(&acme(), std::slice::from_ref(&to), &letter(), NOW).await.unwrap();

        let [mail] = engine.mails_to(&to).await.try_into().unwrap();
        let mail = read(&mail);
        assert_eq!(mail.subject(), Some(letter().subject.as_str()));
        assert_eq!(mail.body_text(0).unwrap().trim_end(), letter().text.trim_end());
        assert_eq!(mail.body_html(0).unwrap().trim_end(), letter().html);
        assert_eq!(mail.from().unwrap().first().unwrap().address(), Some(SENDER));
        assert_eq!(mail.to().unwrap().first().unwrap().address(), Some(to.as_str()));
        assert_eq!(mail.date().unwrap().to_timestamp(), NOW.as_second());
    })
    .await;
}

#[tokio::test]
async fn a_sender_that_ses_has_not_verified_is_an_operators_problem() {
    on_each(async |engine| {
        let to = format!("{}@acme.example", engine.name("bob"));
        let mailer = Mailer::new(&engine.sdk, "mallory@elsewhere.example", MAIL_EVENTS).unwrap();
        let Err(SendError::Refused(error)) = mailer.send(&acme(), std::slice::from_ref(&to), &letter(), NOW).await
        else {
            panic!("it was not refused")
        };
        assert!(format!("{error:?}").contains("MessageRejected"), "{error:?}");
        assert_eq!(engine.mails_to(&to).await, <[String; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_none_is_not_written_to() {
    on_each(async |engine| {
        let mailer = Mailer::new(&engine.sdk, SENDER, MAIL_EVENTS).unwrap();
        for address in ["", "alice", "alice@acme.example\r\nBcc: mallory@elsewhere.example", "a@b, c@d"] {
            let sent = mailer.send(&acme(), &[address.to_owned()], &letter(), NOW).await;
            assert!(matches!(sent, Err(SendError::BadAddress)), "{address:?}: {sent:?}");
        }
    })
    .await;
}
